"""`g5 detect`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from g5.cli.arguments import (
    FILE,
    OVERRIDES,
    PLACE,
    check_encoder,
    check_file,
    with_clues,
    with_columns,
)


@click.command()
@click.argument("encoder")
@click.argument("recordings", type=PLACE)
@click.option(
    "--support",
    required=True,
    type=click.Path(path_type=Path),
    help="Marked calls: a Raven, Audacity, BirdNET, DCASE or plain CSV table; or what an earlier "
    "detection found (its -o) and g5 review asked about.",
)
@click.option(
    "-o",
    "--out",
    default="found",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the results.",
)
@click.option(
    "--format",
    "formats",
    metavar="NAMES",
    help="raven, audacity, csv, dcase, birdnet, textgrid, labelstudio, parquet, with commas; by "
    "default the support's own.",
)
@click.option(
    "--truth",
    type=FILE,
    help="Where known: a table, or a folder of them, to draw beside what was found.",
)
@with_clues
@with_columns
@click.argument("overrides", **OVERRIDES)
def detect(
    encoder: str,
    recordings: Path,
    support: Path,
    out: Path,
    formats: str | None,
    truth: Path | None,
    columns: Mapping[str, str] | None,
    overrides: tuple[str, ...],
    clues: dict[str, Any],
) -> None:
    """Find every call like a few marked ones, in one recording or a folder of them.

    RECORDINGS may be a pattern ("rec/**/*.wav") or a .txt with a path in each row, too.

    ENCODER is a checkpoint, an ONNX or TFLite file, a name that g5 encoders lists or a class of
    your own; several are default+birdnet, and with auto the shots choose. Any number of species
    at once; predictions.csv and ledger.csv are always written. The same command again goes on
    where it stopped.

    \b
    g5 detect default night.wav --support five_calls.txt -o found/
    g5 detect v2.ckpt recordings/ --support library.csv --format raven,dcase
    g5 detect birdnet recordings/ --support library.csv -o found/
    g5 detect v2.ckpt night.wav --support five_calls.txt detection=template
    g5 detect default recordings/ --support library.csv detection.hours=22:00..04:30
    g5 detect default recordings/ --support found/ -o found2/    after g5 review found/
    """
    check_encoder(encoder, overrides, several=True)
    check_file(support)
    from g5.detection.job.request import DetectionRequest, detection_settings
    from preprocessing.recorders.starts import Clues

    request = DetectionRequest(
        encoder, recordings, support, out, formats, truth, tuple(overrides), Clues(**clues),
        columns,
    )  # fmt: skip
    request.check()
    settings = detection_settings(overrides)
    from g5.detection.job import run

    sys.exit(run.detect(request, settings))
