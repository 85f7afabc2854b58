"""Detection on a corpus with a time axis: the first calls of each class and recording are support.

This is how DCASE Task 5 asks: everything after the last support call is to be found.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from g5.common.errors import UserError
from g5.common.machine import cores
from g5.common.progress import track
from g5.config.build import build
from g5.config.schema import DetectionSettings
from g5.detection.detector import Detections, Detector
from g5.detection.embedding.checkpoint_embedder import CheckpointEmbedder
from g5.detection.embedding.embedder import WindowEmbedder
from g5.detection.embedding.sound import Sound, Sounds
from g5.detection.scoring.scorer import CurveScorer
from g5.detection.support import targets_of
from g5.evaluation.events.ground_truth import TRUTH_COLUMNS, Truth
from g5.tracking.restore import Restored
from preprocessing.audio_rules import READ_ALL, AudioRules
from preprocessing.events import Corpus


@dataclass(frozen=True)
class DetectionTask:
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
    found: Detections
    candidates: pd.DataFrame

    @property
    def support_end_s(self) -> float:
        return float(self.support["end_s"].to_numpy().max())


def detector_of(
    restored: Restored, settings: DetectionSettings, store_dir: Path, *, device: torch.device,
    block_s: float, rules: AudioRules = READ_ALL,
) -> tuple[Detector, Sounds]:  # fmt: skip
    """The detector of a checkpoint, and what opens recordings for it.

    Raises:
        UserError: a setting fits nothing.
    """
    embedder = CheckpointEmbedder(
        restored, store_dir, device=device, batch=settings.batch,
        workers=cores(settings.workers), share=settings.share,
    )  # fmt: skip
    return detector_with(embedder, settings, block_s=block_s, rules=rules)


def detector_with(
    embedder: WindowEmbedder, settings: DetectionSettings, *, block_s: float,
    rules: AudioRules = READ_ALL,
) -> tuple[Detector, Sounds]:  # fmt: skip
    """The detector that hears through an embedder, and what opens recordings for it.

    Raises:
        UserError: a setting fits nothing.
    """
    scorer = build(settings.scorer, expect=CurveScorer, where="detection")
    sounds = Sounds(
        embedder.front_end, embedder.store_dir, sr=settings.sr,
        time_expansion=settings.time_expansion, block_s=block_s, rules=rules,
    )  # fmt: skip
    return Detector(scorer, embedder, settings), sounds


def detect_corpus(
    detector: Detector, sounds: Sounds, corpus: Corpus, split: str, *, shots: int,
    problem: Callable[[str], None] | None = None,
) -> Iterator[DetectionTask]:  # fmt: skip
    """Find every class in every recording of a split that has more than ``shots`` calls of it.

    Args:
        detector: what finds.
        sounds: what opens recordings.
        corpus: recordings and events.
        split: "train", "val" or "test".
        shots: support calls.
        problem: told of recordings that cannot be used, which are left out; None: they raise.
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
    unusable: set[str] = set()
    for file, label, rows in track(groups, total=len(groups), label="detection", unit="tasks"):
        if file in unusable:
            continue
        unknown = table.loc[
            (table["file"] == file) & (table["label"] == label) & (table["status"] == "UNK")
        ]
        try:
            sound = sounds.open(Path(file), hashes[file])
            task = _task(detector, sound, label, rows, unknown, shots)
        except UserError as error:
            if problem is None:
                raise
            unusable.add(file)
            problem(f"{file}: {str(error).removeprefix(f'{file}: ')}")
            continue
        yield task


def _task(
    detector: Detector, sound: Sound, label: str, rows: pd.DataFrame, unknown: pd.DataFrame,
    shots: int,
) -> DetectionTask:  # fmt: skip
    support = rows.iloc[:shots]
    marked = pd.concat([support, unknown.loc[unknown["start_s"] < support["end_s"].max()]])
    (target,) = targets_of(marked, lambda _: sound, shots=shots, negatives="head", problem=_refuse)
    truth = pd.concat([rows, unknown]).sort_values(["start_s", "end_s"], kind="stable")
    found = detector.detect(sound, target)
    candidates = detector.candidates(sound, found)
    return DetectionTask(str(rows["file"].iloc[0]), label, truth, support, found, candidates)


def truth_of(
    tasks: Sequence[DetectionTask], subset: str | None = None,
    durations_s: Mapping[str, float] | None = None,
) -> Truth:  # fmt: skip
    """The tasks' calls as the scorer takes them; a recording's ``name`` is its path.

    Args:
        tasks: at least one.
        subset: of all recordings; None: their folders are the subsets.
        durations_s: of the recordings, by path, where they are known.
    """
    events = pd.concat([task.truth.assign(name=task.file) for task in tasks], ignore_index=True)
    files = sorted({task.file for task in tasks})
    root = Path(os.path.commonpath([Path(file).parent for file in files]))
    places = {file: Path(file).parent.relative_to(root).as_posix() for file in files}
    return Truth(
        events.loc[:, TRUTH_COLUMNS],
        {file: subset or (root.name if name == "." else name) for file, name in places.items()},
        {file: durations_s[file] for file in files} if durations_s else {},
    )


def predictions_of(tasks: Sequence[DetectionTask], *, candidates: bool = False) -> pd.DataFrame:
    """What was found, as an events table with the recording's path as its ``name``, too.

    Args:
        tasks: what was detected.
        candidates: what would be found with lower thresholds, instead.
    """
    columns = ["name", "file", "start_s", "end_s", "label", "status", "score"]
    parts = [
        (task.candidates if candidates else task.found.events)
        .loc[:, ["start_s", "end_s", "score"]]
        .assign(name=task.file, file=task.file, label=task.label, status="POS")
        for task in tasks
    ]
    filled = [part for part in parts if len(part)] or [pd.DataFrame(columns=columns)]
    table = pd.concat(filled, ignore_index=True).loc[:, columns]
    return table.astype(dict.fromkeys(("start_s", "end_s", "score"), float))


def _refuse(text: str) -> None:
    """A corpus is checked when it is read; what is left is a fault of ours."""
    raise AssertionError(text)
