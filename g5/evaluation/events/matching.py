"""Matches predicted events to true ones and counts, as DCASE few-shot detection does.

The protocol is that of DCASE Task 5 (Morfi et al. 2021, Nolasco et al. 2023; evaluator in
github.com/c4dm/dcase-few-shot-bioacoustic). Pure functions over arrays of times.

Shapes: P predictions, T true events, M pairs, 2 onset and offset in seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.stats import hmean

# The protocol's own numbers: with others it would be another protocol.
N_SHOTS = 5
MIN_IOU = 0.3
FLOOR = 1e-5
OFFICIAL, FAIR = MODES = ("official", "fair")
# Pairs looked at in one go, which bounds the memory to some 200 MB.
_CHUNK = 4_000_000

# What became of a prediction.
HIT, UNKNOWN, FALSE, IGNORED = "hit", "unknown", "false", "ignored"


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives."""

    tp: int
    fp: int
    fn: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


@dataclass(frozen=True)
class PrecisionRecallF:
    """Precision, recall and F as fractions."""

    precision: float
    recall: float
    fmeasure: float


@dataclass(frozen=True)
class Reference:
    """What predictions in one recording are held against.

    Attributes:
        positive_T2: calls to be found.
        other_T2: what may be hit without being a call for certain.
        support_end_s: end of the fifth call; -inf where there are no shots.
        n_unpredicted: how many calls count as missed where there is no prediction at all.
    """

    positive_T2: np.ndarray
    other_T2: np.ndarray
    support_end_s: float
    n_unpredicted: int


@dataclass(frozen=True)
class Outcome:
    """The counts of one recording, and what became of each prediction and call.

    Attributes:
        kind_P: `HIT`, `UNKNOWN`, `FALSE` or `IGNORED`.
        call_P: the index of the call that a prediction hit, else -1.
        found_T: which of the reference's calls were hit.
    """

    counts: Counts
    kind_P: np.ndarray
    call_P: np.ndarray
    found_T: np.ndarray


def reference(
    times_T2: np.ndarray, status_T: np.ndarray, *, mode: str, n_shots: int = N_SHOTS
) -> Reference:
    """Take the support out of a recording's annotations.

    The events are sorted by onset; every event that ends no later than the fifth POS is removed.
    Of a call among the first five that ends later than the fifth, the published code takes no
    notice: it stays to be found ("official"). In "fair" mode it is no miss, and no mistake to hit.

    Args:
        times_T2: onsets and offsets.
        status_T: "POS", "UNK" or "NEG".
        mode: "official" or "fair".
        n_shots: how many calls are support; all of them where there are fewer.
    """
    order_T = np.argsort(times_T2[:, 0], kind="stable")
    times_T2, status_T = times_T2[order_T], status_T[order_T]
    positive_T, unknown_T = status_T == "POS", status_T == "UNK"
    shots_K = np.flatnonzero(positive_T)[:n_shots]
    end_s = float(times_T2[shots_K[-1], 1]) if len(shots_K) else -np.inf
    n_unpredicted = int(positive_T.sum())
    left_T = ~(times_T2[:, 1] <= end_s)
    if mode == FAIR:
        unknown_T[shots_K], positive_T[shots_K] = True, False
        n_unpredicted = int((left_T & positive_T).sum())
    return Reference(
        times_T2[left_T & positive_T], times_T2[left_T & unknown_T], end_s, n_unpredicted
    )


def count(times_P2: np.ndarray, truth: Reference, *, mode: str) -> Outcome:
    """Match predictions to the calls of one recording, and what is left over to the others.

    Both times it is a maximum matching over pairs whose IoU is greater than `MIN_IOU`. In "fair"
    mode predictions that end inside the support are ignored.
    """
    n = len(times_P2)
    kind_P, call_P = np.full(n, FALSE, dtype=object), np.full(n, -1)
    kept_P = np.ones(n, dtype=bool)
    if mode == FAIR:
        kept_P = ~(times_P2[:, 1] <= truth.support_end_s)
        kind_P[~kept_P] = IGNORED
    found_T = np.zeros(len(truth.positive_T2), dtype=bool)
    if not n:
        return Outcome(Counts(0, 0, truth.n_unpredicted), kind_P, call_P, found_T)
    rows = np.flatnonzero(kept_P)
    first = matching(truth.positive_T2, times_P2[rows])
    found_T = first >= 0
    hits = rows[first[found_T]]
    kind_P[hits], call_P[hits] = HIT, np.flatnonzero(found_T)
    rows = np.flatnonzero(kind_P == FALSE)
    second = matching(truth.other_T2, times_P2[rows])
    kind_P[rows[second[second >= 0]]] = UNKNOWN
    tp = int(found_T.sum())
    return Outcome(
        Counts(tp, int((kind_P == FALSE).sum()), len(found_T) - tp), kind_P, call_P, found_T
    )


def matching(true_T2: np.ndarray, pred_P2: np.ndarray) -> np.ndarray:
    """A maximum one-to-one matching; for each true event its prediction, or -1."""
    if not len(true_T2) or not len(pred_P2):
        return np.full(len(true_T2), -1)
    true_M, pred_M = overlapping(true_T2, pred_P2, MIN_IOU)
    shape = (len(true_T2), len(pred_P2))
    graph = csr_array((np.ones(len(true_M), dtype=np.int8), (true_M, pred_M)), shape=shape)
    return maximum_bipartite_matching(graph, perm_type="column")


def overlapping(
    true_T2: np.ndarray, pred_P2: np.ndarray, min_iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose intersection over union is strictly greater than ``min_iou`` (at least 0).

    ``(min(offsets) - max(onsets)) / (max(offsets) - min(onsets))``, zero for events apart. Of two
    empty events in one place it is 0/0, which is not greater.

    Returns:
        Indices (M,) of the true events and (M,) of the predictions.
    """
    order_P = np.argsort(pred_P2[:, 0], kind="stable")
    on_P, off_P = pred_P2[order_P].T
    # No prediction before `low` reaches the true event, none from `high` on begins in it.
    low_T = np.searchsorted(np.maximum.accumulate(off_P), true_T2[:, 0], side="left")
    high_T = np.searchsorted(on_P, true_T2[:, 1], side="right")
    n_T = np.maximum(high_T - low_T, 0)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for start, stop in _chunks(n_T):
        n = n_T[start:stop]
        true_M = np.repeat(np.arange(start, stop), n)
        pred_M = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n - low_T[start:stop], n)
        on, off = true_T2[true_M].T
        with np.errstate(divide="ignore", invalid="ignore"):
            shared = np.minimum(off, off_P[pred_M]) - np.maximum(on, on_P[pred_M])
            iou = shared / (np.maximum(off, off_P[pred_M]) - np.minimum(on, on_P[pred_M]))
            keep = (iou > min_iou) & (on <= off_P[pred_M])
        parts.append((true_M[keep], order_P[pred_M[keep]]))
    empty = np.zeros(0, dtype=np.int64)
    true = np.concatenate([empty, *(part[0] for part in parts)])
    return true, np.concatenate([empty, *(part[1] for part in parts)])


def _chunks(n_T: np.ndarray) -> Iterable[tuple[int, int]]:
    """Runs of true events that have at most `_CHUNK` pairs to look at, or are alone."""
    total_T = np.cumsum(n_T)
    start = 0
    while start < len(n_T):
        done = total_T[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total_T, done + _CHUNK, side="right")))
        yield start, stop
        start = stop


def scores(counts: Counts) -> PrecisionRecallF:
    """Precision, recall and F of counts, `FLOOR` where there is no hit."""
    tp, fp, fn = counts.tp, counts.fp, counts.fn
    if not tp:
        return PrecisionRecallF(FLOOR, FLOOR, FLOOR)
    return PrecisionRecallF(max(tp / (tp + fp), FLOOR), tp / (fn + tp), tp / (tp + 0.5 * (fp + fn)))


def overall(subsets: Sequence[PrecisionRecallF]) -> PrecisionRecallF:
    """Precision, recall and F, each the harmonic mean of the subsets'."""
    rows = [(score.precision, score.recall, score.fmeasure) for score in subsets]
    return PrecisionRecallF(*(float(hmean(column)) for column in zip(*rows, strict=True)))
