"""`g5 cluster`."""

from pathlib import Path

import click

from g5.cli.arguments import OVERRIDES, STORE


@click.command()
@click.argument("store", **STORE)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="CSV", help="The table.")
@click.argument("overrides", **OVERRIDES)
def cluster(store: Path, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Group the clips by k-means and HDBSCAN, and say how good the groups are.

    \b
    g5 cluster birds.store
    g5 cluster birds.store cluster.method=kmeans cluster.k=8
    """
    from g5.config.settings import load_transfer

    settings = load_transfer(overrides, reads=("cluster",)).cluster
    from g5.transfer.explore.clusters import cluster as run

    run(store, out, settings)
