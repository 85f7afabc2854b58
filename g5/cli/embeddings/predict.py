"""`g5 predict`."""

from pathlib import Path

import click

from g5.cli.arguments import PASS_THROUGH, paths_and_overrides


@click.command(context_settings=PASS_THROUGH)
@click.argument("head", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="CSV",
    help="The predictions.",
)  # fmt: skip
@click.option(
    "--top", type=click.IntRange(min=1), metavar="K",
    help="Only the K with the highest rating or probability, ranked.",
)  # fmt: skip
def predict(head: Path, sources: tuple[str, ...], output: Path, top: int | None) -> None:
    """Label or rate the embeddings of a store, or recordings, with a head of `g5 classify`.

    \b
    g5 predict birds.head birds.store -o predictions.csv
    g5 predict birds.head recordings/ -o best.csv --top 20
    """
    from g5.config.settings import load_transfer
    from g5.transfer.heads.predict import predict as run

    paths, overrides = paths_and_overrides(sources)
    settings = load_transfer(overrides, reads=("encoder", "embed", "head"))
    run(head, paths, output, settings.embed, overrides, top)
