"""`g5 data when`."""

import sys
from pathlib import Path
from typing import Any

import click

from g5.cli.arguments import PLACE, with_clues


@click.command()
@click.argument("recordings", type=PLACE)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="CSV",
    help="Write the table of all recordings, which --times takes again.",
)  # fmt: skip
@with_clues
def when(recordings: Path, out: Path | None, clues: dict[str, Any]) -> None:
    """Print when each recorder recorded, where that is known from, gaps and clock jumps.

    In this order: --times, GUANO, WAMD, AudioMoth's comment, bext, the name of the file. Exit code
    1 if the start of any recording is not known.

    \b
    g5 data when recordings/
    g5 data when recordings/ --zone Europe/Berlin --clock UTC -o times.csv
    g5 data when recordings/ --deployments sites.csv
    """
    from g5.field.when import when as run
    from preprocessing.recorders.starts import Clues

    sys.exit(run(recordings, Clues(**clues), out))
