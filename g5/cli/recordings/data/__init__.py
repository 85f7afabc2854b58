"""`g5 data`: its commands are the modules of this package."""

import click

from g5.cli.groups import PackageGroup


@click.group(cls=PackageGroup, sections={"Commands": __name__})
def data() -> None:
    """Recordings and their annotations.

    \b
    g5 data check data=dcase path.train_dir=DIR
    g5 data fetch dcase2024 -o DIR
    """
