"""`g5 encoders check`."""

import sys

import click

from g5.cli.arguments import OVERRIDES, check_encoder


@click.command()
@click.argument("encoder")
@click.option("--head", metavar="CLASS", help="A rating head of your own, checked with it.")
@click.argument("overrides", **OVERRIDES)
def check(encoder: str, head: str | None, overrides: tuple[str, ...]) -> None:
    """Run the contract checks of an encoder; exit code 1 if one fails.

    \b
    g5 encoders check my_pkg.models.MyEncoder
    g5 encoders check my_pkg.models.MyEncoder --head my_pkg.models.MyHead encoder.window_s=30
    """
    from g5.config.settings import load_transfer

    load_transfer(overrides, reads=("encoder",))
    check_encoder(encoder, overrides)
    from g5.transfer.contracts import check as run

    sys.exit(not run(encoder, head, overrides))
