"""Precision asked for 0.9 after 40 answers: the precision got in recordings nobody reviewed."""

import numpy as np
import pandas as pd
from scipy.special import logit

from g5.detection.review.calibration import ScoreCurve
from g5.detection.review.estimate import UNANSWERED, Draws, Sample, spread_ranks, strata_of

WANTED, ANSWERS = 0.9, 40


def got(found: pd.DataFrame, repeats: int) -> pd.DataFrame:
    """Half of a species' recordings are reviewed, the other half is what counts; then the reverse.

    Returns:
        A row for each species, repeat and half: ``label``, ``threshold``, ``whole`` (it is the
        lowest score of all that was reviewed: all has the precision), ``precision`` over all events
        of the other half, and ``per_recording``, a list.
    """
    rows = []
    for label, events in found.groupby("label"):
        for repeat in range(repeats):
            for side in (0, 1):
                reviewed = events["place"].to_numpy() % 2 == side
                curve = _curve(events.loc[reviewed], repeat) if reviewed.any() else None
                threshold = curve.for_precision(WANTED) if curve else None
                if curve is None or threshold is None:
                    rows.append({"label": label, "threshold": np.nan})
                    continue
                kept = events.loc[~reviewed & (events["score"] >= threshold).to_numpy()]
                each = kept.groupby("file")["yes"].mean().tolist()
                rows.append({
                    "label": label, "threshold": threshold,
                    "whole": threshold <= curve.threshold_G[0], "events": len(kept),
                    "precision": kept["yes"].mean(), "per_recording": each,
                })  # fmt: skip
    return pd.DataFrame(rows)


def _curve(events: pd.DataFrame, seed: int) -> ScoreCurve:
    logit_N = logit(events["score"].clip(1e-6, 1 - 1e-6).to_numpy(float))
    said_N, drawn_N = np.full(len(events), UNANSWERED), np.zeros(len(events), bool)
    stratum_N = strata_of(logit_N)
    rank_N, truth_N = spread_ranks(stratum_N, seed), events["yes"].to_numpy(int)
    for _ in range(min(ANSWERS, len(events))):
        pick = Draws(Sample(logit_N, said_N, drawn_N, stratum_N), rank_N).take()
        said_N[pick], drawn_N[pick] = truth_N[pick], True
    return ScoreCurve.of(Sample(logit_N, said_N, drawn_N, stratum_N))
