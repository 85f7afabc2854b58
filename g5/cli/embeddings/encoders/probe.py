"""`g5 encoders probe`."""

from pathlib import Path

import click

from g5.cli.arguments import OVERRIDES, STORE


@click.command()
@click.argument("store", **STORE)
@click.argument("overrides", **OVERRIDES)
def probe(store: Path, overrides: tuple[str, ...]) -> None:
    """How well a store's embeddings predict pitch, duration, bandwidth, centroid and MFCCs.

    \b
    g5 encoders probe birds.store
    """
    from g5.config.settings import load_transfer

    load_transfer(overrides, reads=("encoder",))
    from g5.transfer.probe import print_probe

    print_probe(store, overrides)
