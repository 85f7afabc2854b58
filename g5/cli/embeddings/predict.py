"""`g5 predict`."""

from pathlib import Path
from typing import Any

import click

from g5.cli.arguments import HEAD, check_recordings, paths_and_overrides


class ScoresAsked(click.ParamType):
    """A whole number above 0, or ``all``, which is 0."""

    name = "scores"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if value == "all":
            return 0
        if not str(value).isdigit() or not int(value):
            self.fail(f"{value!r} is no number of labels above 0, nor all")
        return int(value)


@click.command()
@click.argument("head", type=HEAD)
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
    "--rows", type=click.Choice(["events", "files", "windows"]),
    help="Of the table: a stretch of one label, a file, or a window each.  "
    "[default: events; of a rating windows]",
)  # fmt: skip
@click.option(
    "--scores", type=ScoresAsked(), metavar="N|all",
    help="The N likeliest labels of every window (or file), or a column for each.",
)  # fmt: skip
def predict(
    head: Path, sources: tuple[str, ...], output: Path, top: int | None, rows: Any,
    scores: int | None,
) -> None:  # fmt: skip
    """Label or rate the embeddings of a store, or recordings, with a head of `g5 classify`.

    Windows that touch and say the same are one event. A label counts from the threshold on that
    was best on the folds of g5 classify. HEAD may be an ONNX file of g5 export.

    \b
    g5 predict birds.head birds.store -o events.csv
    g5 predict birds.head recordings/ -o best.csv --top 20
    g5 predict birds.head recordings/ -o files.csv --rows files
    g5 predict birds.head recordings/ -o scores.csv --scores all
    """
    from g5.config.settings import load_transfer

    paths, overrides = paths_and_overrides(sources)
    settings = load_transfer(overrides, reads=("encoder", "embed", "head", "engine"))
    for path in paths:
        check_recordings(path)
    from g5.transfer.heads.predict import predict as run

    run(head, paths, output, settings, overrides, top, rows, scores)
