"""Detection on a corpus with a time axis: the first calls of each class and recording are support.

This is how DCASE Task 5 asks: everything after the last support call is to be found.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from conf.build import build
from detection.detector import Detector, Found
from detection.embed import Embedder, cores
from detection.scorer import Scorer
from detection.sound import Sounds
from detection.support import targets_of
from evaluation.ground_truth import TRUTH_COLUMNS, Truth
from preprocessing.events import Corpus
from preprocessing.progress import track
from tracking.restore import Restored

# How far below the own threshold an oracle may look, log-odds.
ORACLE_LOGITS = 4.0


@dataclass(frozen=True)
class Task:
    """One class in one recording.

    Attributes:
        file: the recording.
        label: the class.
        truth: its POS events and what is marked UNK, sorted by start.
        support: the first POS events, all that the detector may see.
        found: what it found.
        candidates: what it would find with lower thresholds, for an oracle.
    """

    file: str
    label: str
    truth: pd.DataFrame
    support: pd.DataFrame
    found: Found
    candidates: pd.DataFrame

    @property
    def support_end_s(self) -> float:
        return float(self.support["end_s"].to_numpy().max())


def detector_of(
    restored: Restored, detection: Mapping[str, Any], store_dir: Path, *, device: torch.device,
    block_s: float,
) -> tuple[Detector, Sounds]:  # fmt: skip
    """The detector of a `detection` group, and what opens recordings for it."""
    from conf.schema import Detection
    from conf.validate import hints_of

    shared = hints_of(Detection)
    node = {key: value for key, value in detection.items() if key not in shared}
    settings = {key: detection[key] for key in shared}
    scorer = build(node, expect=Scorer, where="detection")
    embedder = Embedder(
        restored, store_dir, device=device, batch=settings["batch"],
        workers=cores(settings["workers"]), share=settings["share"],
    )  # fmt: skip
    sounds = Sounds(
        restored.front_end, store_dir, sr=settings["sr"],
        time_expansion=settings["time_expansion"], block_s=block_s,
    )  # fmt: skip
    return Detector(scorer, embedder, settings), sounds


def detect_corpus(
    detector: Detector, sounds: Sounds, corpus: Corpus, split: str, *, shots: int
) -> Iterator[Task]:
    """Find every class in every recording of a split that has more than ``shots`` calls of it.

    Args:
        detector: what finds.
        sounds: what opens recordings.
        corpus: recordings and events.
        split: "train", "val" or "test".
        shots: support calls.
    """
    if split == "test" and corpus.test_is_val:
        split = "val"
    table = corpus.events
    table = table.loc[table["split"] == split]
    hashes = dict(zip(corpus.recordings["file"], corpus.recordings["sha256"], strict=True))
    positive = table.loc[table["status"] == "POS"]
    groups = [
        (str(file), str(label), rows.sort_values(["start_s", "end_s"], kind="stable"))
        for (file, label), rows in positive.groupby(["file", "label"], sort=True)
        if len(rows) > shots
    ]
    for file, label, rows in track(groups, total=len(groups), label="detection", unit="tasks"):
        sound = sounds.open(Path(file), hashes[file])
        support = rows.iloc[:shots]
        unknown = table.loc[
            (table["file"] == file) & (table["label"] == label) & (table["status"] == "UNK")
        ]
        marked = pd.concat([support, unknown.loc[unknown["start_s"] < support["end_s"].max()]])
        (target,) = targets_of(
            marked, lambda _, sound=sound: sound, shots=shots, negatives="head", problem=_refuse
        )
        truth = pd.concat([rows, unknown]).sort_values(["start_s", "end_s"], kind="stable")
        found = detector.detect(sound, target)
        candidates = detector.candidates(sound, found, ORACLE_LOGITS)
        yield Task(file, label, truth, support, found, candidates)


def truth_of(tasks: Sequence[Task], subset: str) -> Truth:
    """The tasks' calls as the scorer takes them."""
    rows = [
        task.truth.loc[:, ["start_s", "end_s", "status"]].assign(
            name=Path(task.file).stem, label=task.label
        )
        for task in tasks
    ]
    events = pd.concat(rows, ignore_index=True).loc[:, TRUTH_COLUMNS]
    return Truth(events, {Path(task.file).stem: subset for task in tasks}, {})


def predictions_of(tasks: Sequence[Task], *, candidates: bool = False) -> pd.DataFrame:
    """What was found, as the scorer takes it: ``name, label, start_s, end_s, score``."""
    rows = [
        (task.candidates if candidates else task.found.events)
        .loc[:, ["start_s", "end_s", "label", "score"]]
        .assign(name=Path(task.file).stem)
        for task in tasks
    ]
    return pd.concat(rows, ignore_index=True)


def _refuse(text: str) -> None:
    """A corpus is checked when it is read; what is left is a fault of ours."""
    raise AssertionError(text)
