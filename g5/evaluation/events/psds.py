"""Polyphonic Sound Detection Score by psds_eval, an optional dependency (`pip install g5[psds]`).

Bilen et al. 2020, "A framework for the robust evaluation of sound event detection".
"""

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from g5.evaluation.events.ground_truth import Truth
from g5.evaluation.events.scores import operating_points

# Scenario 1 of DCASE Task 4, which asks for times that fit; false alarms per hour up to 100.
DTC, GTC, ALPHA_ST, MAX_EFPR = 0.7, 0.7, 1.0, 100.0
OPERATING_POINTS = 50


def why_not(predictions: pd.DataFrame, truth: Truth) -> str:
    """Why there can be no PSDS; "" if there can."""
    if find_spec("psds_eval") is None:
        return "needs `pip install g5[psds]`"
    if not operating_points(predictions, 1):
        return "needs predictions with scores"
    if set(truth.subset_of) - set(truth.durations_s):
        return "needs the recordings beside the ground truth, for their lengths"
    if "POS" not in set(truth.events["status"]):
        return "needs calls"
    return ""


def psds(predictions: pd.DataFrame, truth: Truth) -> float:
    """PSDS over thresholds on the scores, all calls of all recordings taken into account.

    Tolerances are of scenario 1 of DCASE Task 4 (detection and ground-truth intersection 0.7, no
    cross-triggers, instability of classes counted), false alarms up to 100 per hour. A nameless
    class is its recording's.
    """
    calls = truth.events.loc[truth.events["status"] == "POS"]
    calls = calls.loc[calls["end_s"] > calls["start_s"]]
    lengths = pd.DataFrame(
        {"filename": list(truth.subset_of),
         "duration": [truth.durations_s[name] for name in truth.subset_of]}
    )  # fmt: skip
    real = _table(calls)
    labels = sorted(set(real["event_label"]))
    found = _table(predictions).assign(score=predictions["score"].to_numpy())
    found = found.loc[found["event_label"].isin(labels) & (found["offset"] > found["onset"])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own, of what pandas will drop
        evaluator = _evaluator(real, lengths, labels)
        for threshold in operating_points(predictions, OPERATING_POINTS):
            kept = found.loc[found["score"] >= threshold].drop(columns="score")
            evaluator.add_operating_point(kept)
        # Without cross-triggers, false alarms are all that there is on the x axis.
        curve, _, _ = evaluator.psd_roc_curves(alpha_ct=0.0)
    rate = np.maximum(curve.mean - ALPHA_ST * curve.std, 0)
    # The library's own area needs an older NumPy: of the steps up to the most false alarms.
    ends = np.minimum(np.append(curve.xp, MAX_EFPR), MAX_EFPR)
    return float((np.diff(ends) * rate).sum() / MAX_EFPR)


def _table(events: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "filename": events["name"].to_numpy(),
            "onset": events["start_s"].to_numpy(),
            "offset": events["end_s"].to_numpy(),
            "event_label": events["label"].where(events["label"] != "", events["name"]).to_numpy(),
        }
    )


def _evaluator(calls: pd.DataFrame, lengths: pd.DataFrame, labels: list[str]) -> Any:
    from psds_eval import PSDSEval

    class Evaluator(PSDSEval):
        """psds_eval 0.5.3, with the method that pandas 3 no longer runs."""

        @staticmethod
        def step_curve(x: np.ndarray, xp: np.ndarray, yp: np.ndarray) -> np.ndarray:
            """The step curve through (xp, yp), made monotonic, at ``x``; 0 before its start."""
            places, inverse = np.unique(xp, return_inverse=True)
            best = np.full(len(places), -np.inf)
            np.maximum.at(best, inverse, yp)
            steps = np.concatenate([[0.0], np.maximum.accumulate(best)])
            return steps[np.searchsorted(places, x, side="right")]

    return Evaluator(
        ground_truth=calls,
        metadata=lengths,
        dtc_threshold=DTC,
        gtc_threshold=GTC,
        cttc_threshold=0.3,
        class_names=labels,
    )
