"""`g5 features`."""

import sys

import click

from g5.cli.arguments import OVERRIDES, columns_key, with_columns


@click.command()
@click.option(
    "--check", is_flag=True, help="Verify what is stored instead; exit code 1 if damaged."
)
@with_columns
@click.argument("overrides", **OVERRIDES)
def features(check: bool, columns: dict[str, str] | None, overrides: tuple[str, ...]) -> None:
    """Extract the features of every recording into the store (training does it when absent).

    \b
    g5 features
    g5 features features=pcen data=dcase path.train_dir=DIR path.eval_dir=DIR
    g5 features --check
    """
    from g5.config.settings import load

    overrides = columns_key(columns, overrides)
    load(overrides)
    from g5.data.check import build_features, check_features

    sys.exit(check_features(list(overrides)) if check else build_features(list(overrides)))
