"""What goes wrong with events: missed, false, merged, split, and onsets and offsets that are off.

Shapes: P predictions, T calls, M pairs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from g5.evaluation.events.matching import FALSE, HIT, overlapping
from g5.evaluation.events.scores import ScoredClass

CALL_KINDS: tuple[str, ...] = ("found", "merged", "split", "onset or offset off", "missed")
PREDICTION_KINDS: tuple[str, str] = ("where no call is", "on a call that is counted above")


@dataclass(frozen=True)
class Errors:
    """How many calls and false positives are of which kind, and the error of hits in time.

    Attributes:
        calls: of `CALL_KINDS`. A call that was not found is "merged" if a prediction that overlaps
            it overlaps another call too, else "split" if several predictions overlap it, else
            "onset or offset off" if one does, else "missed".
        false: of `PREDICTION_KINDS`: false positives that overlap no call, and those that do.
        onset_s, offset_s: prediction minus truth, of every hit.
    """

    calls: dict[str, int]
    false: dict[str, int]
    onset_s: np.ndarray
    offset_s: np.ndarray


def errors(units: Iterable[ScoredClass]) -> Errors:
    """Sum the errors of all classes in all recordings."""
    calls: dict[str, int] = dict.fromkeys(CALL_KINDS, 0)
    false: dict[str, int] = dict.fromkeys(PREDICTION_KINDS, 0)
    shifts = [np.zeros((0, 2))]
    for unit in units:
        outcome, truth_T2 = unit.outcome, unit.reference.positive_T2
        true_M, pred_M = overlapping(truth_T2, unit.times_P2, 0.0)
        for kind, n in _call_kinds(outcome.found_T, true_M, pred_M, len(unit.times_P2)).items():
            calls[kind] += n
        on_call_P = np.zeros(len(unit.times_P2), dtype=bool)
        on_call_P[pred_M] = True
        wrong_P = outcome.kind_P == FALSE
        false[PREDICTION_KINDS[0]] += int((wrong_P & ~on_call_P).sum())
        false[PREDICTION_KINDS[1]] += int((wrong_P & on_call_P).sum())
        hit_P = outcome.kind_P == HIT
        shifts.append(unit.times_P2[hit_P] - truth_T2[outcome.call_P[hit_P]])
    onset_s, offset_s = np.concatenate(shifts).T
    return Errors(calls, false, onset_s, offset_s)


def _call_kinds(
    found_T: np.ndarray, true_M: np.ndarray, pred_M: np.ndarray, n_predictions: int
) -> dict[str, int]:
    n_preds_T = np.bincount(true_M, minlength=len(found_T))
    n_calls_P = np.bincount(pred_M, minlength=n_predictions)
    shares_T = np.zeros(len(found_T), dtype=bool)
    shares_T[true_M[n_calls_P[pred_M] > 1]] = True
    conditions = [found_T, shares_T, n_preds_T > 1, n_preds_T == 1]
    kind_T = np.select(conditions, range(4), default=4)
    return dict(zip(CALL_KINDS, np.bincount(kind_T, minlength=5).tolist(), strict=True))
