"""What became of every event and every call: which mistakes a detection makes.

Shapes: P events, T calls that are looked for, D calls of others.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from experiments.procedural_detection.detectors import SplitResult
from g5.detection.corpus import DetectionTask
from g5.evaluation.events.matching import HIT, IGNORED

# Events after the support: right; on a call whose ends they miss; on another's; on nothing.
EVENTS = ("right", "too long", "too short", "one call twice", "on another's call", "on nothing")
# Calls: right; in an event that holds several; touched, but the ends are wrong; not found.
CALLS = ("right", "merged", "wrong ends", "missed")


def mistakes(result: SplitResult, events: pd.DataFrame) -> tuple[Counter[str], Counter[str]]:
    """How many events and how many calls of a detection are what, by `EVENTS` and `CALLS`."""
    tasks = {(task.file, task.label): task for task in result.tasks}
    said: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for unit in result.scores.units:
        task = tasks[unit.name, unit.label]
        taken = unit.outcome.kind_P != IGNORED
        right_P = unit.outcome.kind_P[taken] == HIT
        times_P2, true_T2 = unit.times_P2[taken], unit.reference.positive_T2
        on_PT = lies_on(times_P2, true_T2)
        other_P = np.any(lies_on(times_P2, others(task, events)), axis=1)
        said.update(_events(times_P2, true_T2, right_P, on_PT, unit.outcome.found_T, other_P))
        calls.update(_calls(unit.outcome.found_T, on_PT))
    return said, calls


def others(task: DetectionTask, events: pd.DataFrame) -> np.ndarray:
    """Begin and end of the calls of other classes after the support, (D, 2)."""
    rows = events.loc[
        (events["file"] == task.file) & (events["label"] != task.label)
        & (events["start_s"] > task.support_end_s)
    ]  # fmt: skip
    return rows[["start_s", "end_s"]].to_numpy(float)


def _events(
    times_P2: np.ndarray, true_T2: np.ndarray, right_P: np.ndarray, on_PT: np.ndarray,
    found_T: np.ndarray, other_P: Any,
) -> Iterable[str]:  # fmt: skip
    length_T = true_T2[:, 1] - true_T2[:, 0]
    for i, (start, end) in enumerate(times_P2.tolist()):
        own = np.flatnonzero(on_PT[i])
        if right_P[i]:
            yield "right"
        elif len(own):
            longest = own[np.argmax(length_T[own])]
            if len(own) > 1 or end - start > length_T[longest]:
                yield "too long"
            else:
                yield "one call twice" if found_T[longest] else "too short"
        else:
            yield "on another's call" if other_P[i] else "on nothing"


def _calls(found_T: np.ndarray, on_PT: np.ndarray) -> Iterable[str]:
    several_P = np.sum(on_PT, axis=1) > 1
    for t, found in enumerate(found_T.tolist()):
        if found:
            yield "right"
        elif (on_PT[:, t] & several_P).any():
            yield "merged"
        else:
            yield "wrong ends" if on_PT[:, t].any() else "missed"


def lies_on(times_P2: np.ndarray, calls_T2: np.ndarray) -> np.ndarray:
    """Which events share half of the shorter one or more with which calls, (P, T)."""
    (start_P1, end_P1), (start_T, end_T) = times_P2.T[..., None], calls_T2.T
    shared_PT = np.minimum(end_P1, end_T) - np.maximum(start_P1, start_T)
    return shared_PT >= np.minimum(end_P1 - start_P1, end_T - start_T) / 2
