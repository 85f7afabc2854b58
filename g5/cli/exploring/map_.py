"""`g5 map`."""

from collections.abc import Mapping
from pathlib import Path

import click

from g5.cli.arguments import FILE, OVERRIDES, STORE, with_columns


@click.command("map")
@click.argument("store", **STORE)
@click.option("--labels", type=FILE, metavar="CSV", help="Colours.")
@with_columns
@click.option(
    "--beside", type=STORE["type"], multiple=True, metavar="STORE",
    help="Another store with the same clips, drawn beside: another encoder.",
)  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="HTML", help="The page.")
@click.argument("overrides", **OVERRIDES)
def map_(
    store: Path,
    labels: Path | None,
    columns: Mapping[str, str] | None,
    beside: tuple[Path, ...],
    out: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Draw an interactive map: hover shows the spectrogram, a click plays the call.

    Clips that are far from all others are rings at its edge.

    \b
    g5 map birds.store
    g5 map birds.store map.method=pca map.dims=3
    g5 map before.store --beside after.store --labels labels.csv
    """
    from g5.config.settings import load_transfer

    settings = load_transfer(overrides, reads=("map",))
    from g5.transfer.label_table import check_labels

    if labels:
        check_labels(labels, columns=columns)
    from g5.transfer.explore.linked_maps import draw_map

    draw_map([store, *beside], labels, out, settings.map, settings.audio, columns)
