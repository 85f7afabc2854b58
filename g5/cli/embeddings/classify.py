"""`g5 classify`."""

from collections.abc import Mapping
from pathlib import Path

import click

from g5.cli.arguments import check_store, paths_and_overrides, with_columns, with_labels


@click.command()
@click.argument("stores", nargs=-1, required=True)
@with_labels
@with_columns
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="HEAD",
    help="Where the best head goes.  [default: beside its store]",
)  # fmt: skip
@click.option(
    "--balance", is_flag=True,
    help="Show what class weights and over- and undersampling do to each class.",
)  # fmt: skip
def classify(
    stores: tuple[str, ...],
    labels: Path,
    columns: Mapping[str, str] | None,
    output: Path | None,
    balance: bool,
) -> None:
    """Which encoder and which shallow head on your labels: same folds, one table, best one saved.

    \b
    g5 classify birds.store --labels labels.csv
    g5 classify birds.store other.store --labels labels.csv -o owls.head
    g5 classify birds.store --labels mine.csv --columns file=Datei,label=Art
    g5 classify birds.store --labels labels.csv --balance head.sampling=over
    g5 classify birds.store --labels ratings.csv classify.task=rating classify.heads=[linear,mlp]
    g5 classify birds.store --labels labels.csv head._target_=my_pkg.models.MyHead
    """
    from g5.config.settings import load_transfer

    paths, overrides = paths_and_overrides(stores)
    settings = load_transfer(overrides, reads=("classify", "head"))
    for path in paths:
        check_store(path)
    from g5.transfer.label_table import check_labels

    check_labels(labels, settings.classify.task, columns)
    from g5.transfer.heads.classify import classify as run

    run(paths, labels, output, settings.classify, overrides, balance=balance, columns=columns)
