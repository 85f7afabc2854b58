"""Event scores of a checkpoint beside its episodes: `g5 test` on data with a time axis."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from conf.parts import root_of
from detection.corpus import Task, detect_corpus, detector_of
from evaluation.event_report import Evaluation, evaluate_events, event_summary
from evaluation.events import FAIR, N_SHOTS
from evaluation.ground_truth import TRUTH_COLUMNS, Truth
from evaluation.summary import printable
from jobs.setup import device_of
from preprocessing.annotations import write_events
from preprocessing.atomic import atomic_path
from preprocessing.errors import UserError
from preprocessing.events import Corpus
from tracking.folders import RunFolder
from tracking.mlflow_logger import MLflowLogger
from tracking.restore import Restored


def event_scores(
    config: Mapping[str, Any],
    restored: Restored,
    corpus: Corpus,
    folder: RunFolder,
    logger: MLflowLogger | None,
) -> Evaluation | None:
    """Detect every class in every test recording from its first five calls, and score the events.

    Writes ``event_scores.json`` and ``events.csv`` into ``folder``, logs both and the numbers
    ``test/event_...`` of mode fair, and prints them.

    Returns:
        None where no recording has more than five calls of a class, or detection is not possible.
    """
    if not _has_tasks(corpus):
        return None
    try:
        detector, sounds = detector_of(
            restored,
            config["detection"],
            root_of(config) / "outputs" / "store",
            device=device_of(config),
            block_s=config["features"]["block_s"],
        )
        tasks = list(detect_corpus(detector, sounds, corpus, "test", shots=N_SHOTS))
    except UserError as error:
        print(f"warning: no event scores: {error}", file=sys.stderr)
        return None
    found = predictions_of(tasks)
    result = evaluate_events(found, truth_of(tasks, corpus), mode=FAIR)
    files = [folder.path / "event_scores.json", folder.path / "events.csv"]
    with atomic_path(files[0]) as temporary:
        text = json.dumps(result.chosen.plain(), indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", "utf-8")
    write_events(found.drop(columns="name"), files[1], "csv")
    if logger is not None:
        logger.log_metrics(result.metrics())
        for file in files:
            logger.log_artifact(file)
    print(f"\n{printable(event_summary(result), sys.stdout.encoding)}")
    return result


def _has_tasks(corpus: Corpus) -> bool:
    calls = corpus.split("test").groupby(["file", "label"]).size()
    return bool((calls > N_SHOTS).any())


def predictions_of(tasks: Sequence[Task]) -> pd.DataFrame:
    """What was found, as an events table with the recording's path as its ``name``."""
    columns = ["name", "file", "start_s", "end_s", "label", "status", "score"]
    parts = [pd.DataFrame(columns=columns)] + [
        task.found.events.loc[:, ["start_s", "end_s", "score"]].assign(
            name=task.file, file=task.file, label=task.label, status="POS"
        )
        for task in tasks
        if len(task.found.events)
    ]
    table = pd.concat(parts[1:] or parts, ignore_index=True).loc[:, columns]
    return table.astype(dict.fromkeys(("start_s", "end_s", "score"), float))


def truth_of(tasks: Sequence[Task], corpus: Corpus) -> Truth:
    """The annotations of what was detected; subsets are the folders of the recordings."""
    events = pd.concat([task.truth.assign(name=task.file) for task in tasks], ignore_index=True)
    files = sorted({task.file for task in tasks})
    root = Path(os.path.commonpath([Path(file).parent for file in files]))
    subsets = {file: Path(file).parent.relative_to(root).as_posix() for file in files}
    lengths = dict(zip(corpus.recordings["file"], corpus.recordings["duration_s"], strict=True))
    return Truth(
        events.loc[:, TRUTH_COLUMNS],
        {file: root.name if name == "." else name for file, name in subsets.items()},
        {file: float(lengths[file]) for file in files},
    )
