"""`g5 convert`."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from g5.cli.arguments import FILE, with_columns

FORMATS = (
    "csv", "raven", "audacity", "birdnet", "dcase", "textgrid", "labelstudio", "parquet",
)  # fmt: skip


@click.command()
@click.argument("table", type=FILE)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="The new table; a folder, where the format wants one for each of several recordings.",
)  # fmt: skip
@click.option(
    "--format", type=click.Choice(FORMATS), default="csv", show_default=True,
    help="Whose table it becomes.",
)  # fmt: skip
@with_columns
def convert(table: Path, output: Path, format: str, columns: Mapping[str, str] | None) -> None:
    """Turn a table of one program into that of another.

    TABLE is of Raven, Audacity, BirdNET, DCASE, Kaleidoscope, warbleR, batdetect2, whombat, Label
    Studio, Praat, Arbimon or any CSV whose columns you name.

    \b
    g5 convert id.csv --format raven -o tables/
    g5 convert night.TextGrid -o night.csv
    g5 convert mine.csv --columns start_s=Begin,end_s=End,label=Sp -o events.csv
    """
    from g5.data.convert import convert as run

    if run(table, output, format, columns):
        sys.exit(1)
