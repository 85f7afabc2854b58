"""`g5 summarise`."""

from pathlib import Path
from typing import Any

import click

from g5.cli.arguments import FOUND, with_clues


@click.command()
@click.argument("found", type=FOUND)
@click.option(
    "-o", "--out", default="summary", show_default=True, type=click.Path(path_type=Path),
    help="Folder for tables, pictures and the page.",
)  # fmt: skip
@click.option(
    "--occasion", default=1, show_default=True, type=click.IntRange(min=1), metavar="DAYS",
    help="Length of an occasion in the detection histories.",
)  # fmt: skip
@with_clues
def summarise(found: Path, out: Path, occasion: int, clues: dict[str, Any]) -> None:
    """When and where it calls, how often and how sure that is: a season in tables and pictures.

    FOUND is the folder of a g5 detect. Calls stand beside the minutes that were recorded and
    analysed, by recorder, hour, day and week; history_*.csv are site by occasion, as unmarked and
    spOccupancy take them. After g5 review calls are corrected by the precision.

    \b
    g5 summarise found/ --deployments sites.csv -o summary/
    g5 summarise found/ --zone Europe/Berlin --occasion 7
    """
    from g5.config.settings import load_transfer
    from preprocessing.recorders.starts import Clues

    given = Clues(**clues)
    given.reader()
    review = load_transfer(reads=()).review
    from g5.field.summarise import summarise as run

    run(found, out, given, review, occasion=occasion)
