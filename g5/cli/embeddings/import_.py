"""`g5 import`."""

import sys
from pathlib import Path

import click

from g5.cli.arguments import FILE, into_store, with_check


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=FILE)
@into_store
@click.option(
    "--index", type=click.Path(path_type=Path), metavar="TABLE",
    help="What the rows of an .npy are.  [default: the table of its name beside it]",
)  # fmt: skip
@click.option(
    "--encoder", default="imported", show_default=True, metavar="NAME",
    help="What made them: vectors of another name do not mix.",
)  # fmt: skip
@click.option(
    "--audio-root", type=click.Path(path_type=Path), metavar="DIR",
    help="What the file names are relative to.",
)  # fmt: skip
@with_check
def import_(
    files: tuple[Path, ...],
    output: Path,
    index: Path | None,
    encoder: str,
    audio_root: Path | None,
    check: bool,
) -> None:
    """Import embeddings of BirdNET, Perch and others: CSV, npz, npy + CSV, Parquet, hoplite.

    \b
    g5 import birdnet_embeddings.csv -o birds.store --audio-root recordings/
    g5 import vectors.npy --index vectors.csv -o birds.store --encoder birdnet-2.4
    g5 import hoplite_folder/ -o birds.store --encoder perch-v2
    """
    from g5.embeddings.import_files import import_embeddings

    sys.exit(import_embeddings(files, output, index, encoder, audio_root, check=check))
