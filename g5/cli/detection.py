"""Verbs about events: detect, evaluate."""

import sys
from pathlib import Path

import click

from g5.cli.shared import OVERRIDES, PASS_THROUGH


@click.command(context_settings=PASS_THROUGH)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("recordings", type=click.Path(path_type=Path))
@click.option(
    "--support",
    required=True,
    type=click.Path(path_type=Path),
    help="Marked calls: a Raven, Audacity, BirdNET, DCASE or plain CSV table.",
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
    help="raven, audacity, csv, dcase, parquet, with commas; by default the support's own.",
)
@click.option(
    "--truth",
    type=click.Path(exists=True, path_type=Path),
    help="Where known: a table, or a folder of them, to draw beside what was found.",
)
@click.argument("overrides", **OVERRIDES)
def detect(
    checkpoint: Path,
    recordings: Path,
    support: Path,
    out: Path,
    formats: str | None,
    truth: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Find every call like a few marked ones, in one recording or a folder of them.

    Any number of species at once; predictions.csv and ledger.csv are always written. The same
    command again goes on where it stopped.

    \b
    g5 detect CKPT night.wav --support five_calls.txt -o found/
    g5 detect CKPT recordings/ --support library.csv --format raven,dcase
    g5 detect CKPT night.wav --support five_calls.txt detection=template
    """
    from g5.detection.job import detect as find

    sys.exit(find(checkpoint, recordings, support, out, formats, list(overrides), truth))


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.argument("ground_truth", type=click.Path(path_type=Path))
@click.option(
    "--mode",
    type=click.Choice(["fair", "official"]),
    default="fair",
    show_default=True,
    help="official: to the last digit as the published DCASE evaluator; fair: without its quirks.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Scores for scripts.")
@click.option("--report", type=click.Path(path_type=Path), help="Folder for an HTML page.")
def evaluate(
    predictions: Path, ground_truth: Path, mode: str, json_path: Path | None, report: Path | None
) -> None:
    """Score predicted events as DCASE Task 5 does, against a folder of ground truth.

    Both may be Raven, Audacity, BirdNET, DCASE, CSV or Parquet; the sub-folders of GROUND_TRUTH
    are its subsets. The first five calls of each recording are the support.

    \b
    g5 evaluate found/predictions.csv Validation_Set/
    g5 evaluate predictions.csv truth/ --mode official --json scores.json --report out/
    """
    from g5.evaluation.events.evaluate import evaluate_files

    evaluate_files(predictions, ground_truth, mode=mode, json_path=json_path, report_dir=report)


VERBS = (detect, evaluate)
