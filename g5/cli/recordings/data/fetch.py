"""`g5 data fetch`."""

from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the set."
)
@click.option("--url", help="A mirror of Zenodo.")
def fetch(name: str, output: Path, url: str | None) -> None:
    """Download a public set of conf/fetch.yaml; stopped, it goes on with the same command.

    \b
    g5 data fetch dcase2024 -o dcase2024
    """
    from g5.data.fetch import fetch_set

    fetch_set(name, output, url=url)
