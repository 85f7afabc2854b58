"""`g5 data check`."""

import sys

import click

from g5.cli.arguments import OVERRIDES, columns_key, with_columns


@click.command()
@click.option("--strict", is_flag=True, help="Exit with 1 if there is any problem.")
@with_columns
@click.argument("overrides", **OVERRIDES)
def check(strict: bool, columns: dict[str, str] | None, overrides: tuple[str, ...]) -> None:
    """Print what the data hold, and everything that is wrong with them.

    \b
    g5 data check
    g5 data check --strict data=raven path.train_dir=DIR path.eval_dir=DIR
    g5 data check data=clips path.train_dir=clips.csv --columns file=Datei,label=Art
    """
    from g5.config.settings import load

    overrides = columns_key(columns, overrides)
    load(overrides)
    from g5.data.check import check_data

    sys.exit(check_data(list(overrides), strict=strict))
