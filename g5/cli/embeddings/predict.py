"""`g5 predict`."""

from pathlib import Path
from typing import Any

import click

from g5.cli.arguments import FILE, PASS_THROUGH, check_recordings, paths_and_overrides


@click.command(context_settings=PASS_THROUGH)
@click.argument("head", type=FILE)
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="CSV",
    help="The predictions.",
)  # fmt: skip
@click.option(
    "--top", type=click.IntRange(min=1), metavar="K",
    help="Only the K with the highest rating or probability, ranked.",
)  # fmt: skip
@click.option(
    "--rows", type=click.Choice(["windows", "files", "events"]), default="windows",
    show_default=True, help="Of the table: a window, a file, or a stretch of one label each.",
)  # fmt: skip
def predict(head: Path, sources: tuple[str, ...], output: Path, top: int | None, rows: Any) -> None:
    """Label or rate the embeddings of a store, or recordings, with a head of `g5 classify`.

    \b
    g5 predict birds.head birds.store -o predictions.csv
    g5 predict birds.head recordings/ -o best.csv --top 20
    g5 predict birds.head recordings/ -o events.csv --rows events
    """
    from g5.config.settings import load_transfer

    paths, overrides = paths_and_overrides(sources)
    settings = load_transfer(overrides, reads=("encoder", "embed", "head", "engine"))
    for path in paths:
        check_recordings(path)
    from g5.transfer.heads.predict import predict as run

    run(head, paths, output, settings, overrides, top, rows)
