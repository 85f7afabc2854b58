"""Scores of predicted events: counts by recording, class and subset, and how sure they are.

Shapes: P predictions, T true events, N recordings, R resamples, S subsets.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from g5.evaluation.events.ground_truth import Truth
from g5.evaluation.events.matching import (
    FLOOR,
    N_SHOTS,
    Counts,
    Outcome,
    PrecisionRecallF,
    Reference,
    count,
    overall,
    reference,
    scores,
)

RESAMPLES = 2000
SEED = 1
# Thresholds that are tried for the oracle, spread over the ranks of the scores.
ORACLE_STEPS = 100


@dataclass(frozen=True)
class ScoredClass:
    """One class in one recording: what was predicted, what was there, what came of it."""

    name: str
    subset: str
    label: str
    times_P2: np.ndarray
    score_P: np.ndarray  # NaN where predictions have none
    reference: Reference
    outcome: Outcome


@dataclass(frozen=True, eq=False)
class EventScores:
    """Everything that one mode counts."""

    mode: str
    units: tuple[ScoredClass, ...]
    subset_of: dict[str, str]

    @cached_property
    def files(self) -> dict[str, Counts]:
        """Counts of each recording, by name."""
        counts = {name: Counts(0, 0, 0) for name in self.subset_of}
        for unit in self.units:
            counts[unit.name] += unit.outcome.counts
        return counts

    @cached_property
    def subset_counts(self) -> dict[str, Counts]:
        """Counts of each subset, by name."""
        counts = {subset: Counts(0, 0, 0) for subset in sorted(set(self.subset_of.values()))}
        for name, subset in self.subset_of.items():
            counts[subset] += self.files[name]
        return counts

    @cached_property
    def subsets(self) -> dict[str, PrecisionRecallF]:
        """Scores of each subset."""
        return {subset: scores(counts) for subset, counts in self.subset_counts.items()}

    @cached_property
    def overall(self) -> PrecisionRecallF:
        """The harmonic means over the subsets."""
        return overall(list(self.subsets.values()))

    def plain(self) -> dict:
        """What ``--json`` holds: shares of 1; ``official`` as the published evaluator writes it.

        That has F overall, and it alone, in percent with three decimals.
        """
        total, subsets = self.overall, self.subsets.items()
        percent = float(np.round(total.fmeasure * 100, 3))
        return {
            "mode": self.mode,
            "overall": asdict(total),
            "official": {"overall": {**asdict(total), "fmeasure": percent}},
            "subsets": {name: asdict(score) for name, score in subsets},
            "files": {
                name: {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn}
                for name, counts in self.files.items()
            },
        }

    def file_table(self) -> pd.DataFrame:
        """One row per recording: ``recording, subset, tp, fp, fn, precision, recall, F``."""
        rows = [
            {"recording": name, "subset": self.subset_of[name], **_row(counts)}
            for name, counts in self.files.items()
        ]
        return pd.DataFrame(rows)

    def class_table(self) -> pd.DataFrame:
        """One row per class over all recordings; a nameless class is its recording's."""
        counts: dict[str, Counts] = {}
        for unit in self.units:
            label = unit.label or unit.name
            counts[label] = counts.get(label, Counts(0, 0, 0)) + unit.outcome.counts
        rows = [
            {"class": label, **_row(counts[label])}
            for label in sorted(counts)
            if counts[label] != Counts(0, 0, 0)
        ]
        return pd.DataFrame(rows, columns=["class", *_row(Counts(0, 0, 0))])

    def subset_table(self) -> pd.DataFrame:
        """One row per subset."""
        return pd.DataFrame(
            [{"subset": name, **_row(counts)} for name, counts in self.subset_counts.items()]
        )


def _row(counts: Counts) -> dict[str, float]:
    score = scores(counts)
    found = {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn}
    return found | {"precision": score.precision, "recall": score.recall, "F": score.fmeasure}


def score_events(
    predictions: pd.DataFrame, truth: Truth, *, mode: str, n_shots: int = N_SHOTS
) -> EventScores:
    """Count the predictions against the truth.

    Args:
        predictions: ``name, label, start_s, end_s``, and ``score`` where they have one; as
            `g5.evaluation.events.ground_truth.read_predictions` gives them.
        truth: the annotations. A class that it does not know in a recording has no call there.
        mode: "official" or "fair", see `g5.evaluation.events.matching`.
        n_shots: how many first calls of each class in each recording are support.
    """
    columns = ["name", "label"]
    said, true = _by(predictions, columns), _by(truth.events, columns)
    units = []
    for name, label in sorted(said.keys() | true.keys()):
        pred, real = said.get((name, label)), true.get((name, label))
        times_P2, score_P = _times(pred), _scores(pred)
        status_T = np.zeros(0, object) if real is None else real["status"].to_numpy(object)
        held = reference(_times(real), status_T, mode=mode, n_shots=n_shots)
        outcome = count(times_P2, held, mode=mode)
        units.append(
            ScoredClass(name, truth.subset_of[name], label, times_P2, score_P, held, outcome)
        )
    return EventScores(mode, tuple(units), dict(sorted(truth.subset_of.items())))


def _by(table: pd.DataFrame, columns: list[str]) -> dict[Any, pd.DataFrame]:
    return dict(tuple(table.groupby(columns)))


def _times(rows: pd.DataFrame | None) -> np.ndarray:
    return np.zeros((0, 2)) if rows is None else rows[["start_s", "end_s"]].to_numpy(np.float64)


def _scores(rows: pd.DataFrame | None) -> np.ndarray:
    if rows is None or "score" not in rows:
        return np.full(0 if rows is None else len(rows), np.nan)
    return rows["score"].to_numpy(np.float64)


def f_interval(
    result: EventScores, *, seed: int = SEED, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """95 % interval of F over other recordings like these: the subsets' recordings resampled.

    Recordings are drawn with replacement within each subset, so that the harmonic mean is over
    the same subsets each time; percentiles (Davison & Hinkley 1997).

    Returns:
        None where every subset has one recording: nothing can be said then.
    """
    names: dict[str, list[str]] = {}
    for name, subset in result.subset_of.items():
        names.setdefault(subset, []).append(name)
    if max(map(len, names.values())) < 2:
        return None
    rng = np.random.default_rng(seed)
    inverse_R = np.zeros(resamples)
    for group in names.values():
        counts = [result.files[name] for name in group]
        counts_N3 = np.array([(one.tp, one.fp, one.fn) for one in counts], dtype=np.float64)
        # How often each recording was drawn, not which: memory stays small.
        times_RN = rng.multinomial(len(group), np.full(len(group), 1 / len(group)), resamples)
        tp_R, fp_R, fn_R = (times_RN @ counts_N3).T
        f_R = np.divide(
            tp_R, tp_R + 0.5 * (fp_R + fn_R), out=np.full(resamples, FLOOR), where=tp_R > 0
        )
        inverse_R += 1 / f_R
    low, high = np.quantile(len(names) / inverse_R, (0.025, 0.975))
    return float(low), float(high)


def oracle(
    predictions: pd.DataFrame, truth: Truth, *, mode: str, n_shots: int = N_SHOTS
) -> tuple[float, float] | None:
    """The best F that one threshold on the scores could reach, and that threshold.

    It is chosen with the answers in hand and no result: only its distance to the real F says
    something, the *oracle gap*.

    Returns:
        None where predictions have no scores.
    """
    found = []
    for threshold in operating_points(predictions, ORACLE_STEPS):
        kept = predictions.loc[predictions["score"] >= threshold]
        result = score_events(kept, truth, mode=mode, n_shots=n_shots)
        found.append((result.overall.fmeasure, threshold))
    return max(found, default=None)


def operating_points(predictions: pd.DataFrame, n: int) -> list[float]:
    """Thresholds spread over the scores, from the lowest up; none where there are no scores."""
    if "score" not in predictions:
        return []
    levels = np.unique(predictions["score"].dropna())
    picks = np.unique(np.linspace(0, len(levels) - 1, n).round().astype(int)) if len(levels) else []
    return [float(level) for level in levels[picks]]
