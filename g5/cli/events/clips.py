"""`g5 clips`."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from g5.cli.arguments import FILE, OVERRIDES, PLACE, check_recordings, with_columns


@click.command()
@click.argument("table", type=FILE)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FOLDER",
    help="Where the clips go; those that are there already are not cut again.",
)  # fmt: skip
@click.option(
    "--audio-root", type=PLACE, metavar="DIR",
    help="Folder, zip or address of the recordings; else as the table says, or below its folder.",
)  # fmt: skip
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="The N of each label with the best score.",
)
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N",
    help="N of each label at random, spread over score and site.",
)  # fmt: skip
@with_columns
@click.argument("overrides", **OVERRIDES)
def clips(
    table: Path, output: Path, audio_root: Path | None, top: int | None, sample: int | None,
    columns: Mapping[str, str] | None, overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Cut the events of a table out of their recordings, each into a WAV.

    TABLE is of any kind that g5 reads (Raven, Audacity, BirdNET, CSV, ...), or the folder of a g5
    detect. Clips are named label_score_site_time.wav, as far as the table says; beside them are
    clips.csv with all that it says, a Raven table and Audacity labels.

    \b
    g5 clips found/ -o clips/
    g5 clips night.BirdNET.results.csv -o clips/ --audio-root recordings --top 100
    g5 clips found/ -o listen/ --sample 50 clips.margin=1
    """
    if top and sample:
        raise click.UsageError("--top or --sample, not both")
    if audio_root:
        check_recordings(audio_root)
    from g5.config.settings import load_transfer

    settings = load_transfer(overrides, reads=("clips",))
    from g5.field.clips import ClipsRequest, cut_clips

    request = ClipsRequest(table, output, audio_root, top, sample, columns)
    if cut_clips(request, settings.clips, settings.audio):
        sys.exit(1)
