"""`g5 evaluate`."""

from collections.abc import Mapping
from pathlib import Path

import click

from g5.cli.arguments import FILE, with_columns


@click.command()
@click.argument("predictions", type=FILE)
@click.argument("ground_truth", type=FILE)
@click.option(
    "--mode",
    type=click.Choice(["fair", "official"]),
    default="fair",
    show_default=True,
    help="official: to the last digit as the published DCASE evaluator; fair: without its quirks.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Scores for scripts.")
@click.option("--report", type=click.Path(path_type=Path), help="Folder for an HTML page.")
@with_columns
def evaluate(
    predictions: Path, ground_truth: Path, mode: str, json_path: Path | None, report: Path | None,
    columns: Mapping[str, str] | None,
) -> None:  # fmt: skip
    """Score predicted events as DCASE Task 5 does, against ground truth: a table or a folder.

    Both may be Raven, Audacity, BirdNET, DCASE, CSV or Parquet; the sub-folders of GROUND_TRUTH
    are its subsets. The first five calls of each recording are the support.

    \b
    g5 evaluate found/predictions.csv Validation_Set/
    g5 evaluate found/predictions.csv calls.csv --columns start_s=Begin,end_s=End,label=Sp
    g5 evaluate predictions.csv truth/ --mode official --json scores.json --report out/
    """
    from g5.evaluation.events.evaluate import evaluate_files

    evaluate_files(
        predictions, ground_truth, mode=mode, json_path=json_path, report_dir=report,
        columns=columns,
    )  # fmt: skip
