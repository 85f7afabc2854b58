"""`g5 verify`."""

from collections.abc import Mapping
from pathlib import Path

import click

from g5.cli.arguments import FILE, OVERRIDES, STORE, with_columns


@click.command()
@click.argument("store", **STORE)
@click.option(
    "--labels", required=True, type=FILE, metavar="CSV",
    help="Columns file and individual (or label), perhaps start_s, end_s, source.",
)  # fmt: skip
@with_columns
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="CSV", help="The pairs.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Rates for scripts.")
@click.argument("overrides", **OVERRIDES)
def verify(
    store: Path, labels: Path, columns: Mapping[str, str] | None, out: Path | None,
    json_path: Path | None, overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """How well embeddings tell individuals apart: pairs of clips, and the equal error rate.

    Both clips of a pair are from different sources or recordings where there are such; with the
    columns label and individual they are of one label, such as a species.

    \b
    g5 verify birds.store --labels individuals.csv
    g5 verify birds.store --labels individuals.csv verify.components=30 --json rates.json
    """
    from g5.config.settings import load_transfer

    settings = load_transfer(overrides, reads=("verify",)).verify
    from g5.transfer.label_table import check_labels

    check_labels(labels, "individual", columns)
    from g5.transfer.explore.verify import verify as run

    run(store, labels, out, json_path, settings, columns)
