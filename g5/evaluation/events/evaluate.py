"""Score predicted events: `g5 evaluate`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from g5.common.atomic import write_json
from g5.common.words import printable
from g5.evaluation.events.ground_truth import read_candidates, read_predictions, read_truth
from g5.evaluation.events.report import evaluate_events, event_summary, write_event_report


def evaluate_files(
    predictions: Path,
    truth_dir: Path,
    *,
    mode: str,
    json_path: Path | None = None,
    report_dir: Path | None = None,
    columns: Mapping[str, str] | None = None,
) -> None:
    """Score a table of predictions against a folder of ground truth, print and write the result.

    What is odd about the files is told on stderr and in the report, and changes nothing.

    Args:
        predictions: of any format that `preprocessing.annotations.read_events` reads.
        truth_dir: its sub-folders are the subsets.
        mode: "official" or "fair": which one is written to ``json_path`` and broken down.
        json_path: file for scripts.
        report_dir: folder of the page.
        columns: names for ours (`columns_of`) of the tables that are of no known format.

    Raises:
        UserError: what cannot be read at all.
    """
    truth, problems = read_truth(truth_dir, columns)
    events, found = read_predictions(predictions, truth, columns)
    notes = [str(problem) for problem in (*problems, *found)]
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    candidates = read_candidates(predictions, truth)
    result = evaluate_events(events, truth, mode=mode, candidates=candidates)
    print(printable(event_summary(result), sys.stdout.encoding))
    if json_path is not None:
        print(f"\nscores  {write_json(json_path, result.chosen.plain())}")
    if report_dir is not None:
        title = f"{predictions.name} against {truth_dir.resolve().name}"
        print(f"report  {write_event_report(result, report_dir, title=title, notes=notes)}")
