"""`g5 encoders probe`."""

from pathlib import Path

import click

from g5.cli.arguments import OVERRIDES, PASS_THROUGH


@click.command(context_settings=PASS_THROUGH)
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("overrides", **OVERRIDES)
def probe(store: Path, overrides: tuple[str, ...]) -> None:
    """How well a store's embeddings predict pitch, duration, bandwidth, centroid and MFCCs.

    \b
    g5 encoders probe birds.store
    """
    from g5.transfer.encoder_commands import probe

    probe(store, list(overrides))
