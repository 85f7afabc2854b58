"""`g5 search`."""

from collections.abc import Mapping
from pathlib import Path

import click

from g5.cli.arguments import FILE, OVERRIDES, STORE, with_columns


@click.command()
@click.argument("store", **STORE)
@click.option(
    "--like", multiple=True, metavar="CLIP", help="FILE or FILE:START-END in seconds; repeatable."
)
@click.option("--unusual", is_flag=True, help="Clips far from everything known instead.")
@click.option(
    "--labels",
    type=FILE,
    metavar="CSV",
    help="What --unusual knows, and leaves out.  [default: what is labelled in the store]",
)
@with_columns
@click.option("-k", type=click.IntRange(min=1), metavar="K", help="Results.  [default: search.k]")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="HTML", help="The page.")
@click.argument("overrides", **OVERRIDES)
def search(
    store: Path,
    like: tuple[str, ...],
    unusual: bool,
    labels: Path | None,
    columns: Mapping[str, str] | None,
    k: int | None,
    out: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Find similar sounds, or unusual ones: a table, and a page with spectrograms and sound.

    \b
    g5 search birds.store --like call.wav:12.3-12.9 -k 20
    g5 search birds.store --like call.wav search.metric=euclidean
    g5 search birds.store --unusual --labels labels.csv
    """
    if unusual == bool(like):
        raise click.UsageError("say --like CLIP, or --unusual")
    from g5.config.settings import load_transfer

    settings = load_transfer(overrides, reads=("search", "encoder") if like else ("search",))
    from g5.transfer.label_table import check_labels

    if labels:
        check_labels(labels, columns=columns)
    from g5.transfer.explore.similar import find

    find(store, like, labels, k, out, settings.search, settings.audio, overrides, columns)
