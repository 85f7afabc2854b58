"""What a score means after a review: precision and recall against threshold, with intervals.

The chance of a call is a logistic curve over the log-odds of the score (Platt 1999), by species,
drawn towards what is believed of any detector; intervals are from draws around it (Laplace's
approximation). Which events were asked about depends on scores, so the answers need no weights.

Shapes: N events of a species, D draws, G thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from g5.common.spreadsheet import write_csv
from g5.common.words import counted
from g5.detection.review.estimate import UNANSWERED, Sample, logistic
from g5.evaluation.figures.style import BLUE, ORANGE, drawing

DRAWS, SEED = 400, 0
# Events that a curve is reckoned from, and thresholds in it.
MOST, GRID = 4000, 200
CURVE_CSV, CURVE_PNG = "curve.csv", "curve.png"
COLUMNS = ("precision", "precision_low", "precision_high", "recall", "recall_low", "recall_high")


@dataclass(frozen=True)
class ScoreCurve:
    """Precision and recall of the events from a threshold on; recall is among those reviewed.

    Attributes:
        threshold_G: scores, rising.
        events_G: how many reach them.
        values_G6: `COLUMNS`; ends of intervals are of 95 %.
        answers: that it stands on.
    """

    threshold_G: np.ndarray
    events_G: np.ndarray
    values_G6: np.ndarray
    answers: int

    @classmethod
    def of(cls, sample: Sample) -> "ScoreCurve":
        """The curve of a species' events."""
        order = np.argsort(sample.logit_N)
        total = len(order)
        if total > MOST:
            order = order[np.linspace(0, total - 1, MOST).astype(int)]
        logit_N = sample.logit_N[order]
        beta, covariance = logistic(sample.logit_N, sample.said_N)
        beta_D2 = np.random.default_rng(SEED).multivariate_normal(beta, covariance, DRAWS)
        p_DN = expit(beta_D2[:, :1] + beta_D2[:, 1:] * logit_N)
        calls_DN = np.cumsum(p_DN[:, ::-1], axis=1)[:, ::-1]  # at and above each
        count_N = np.arange(len(logit_N), 0, -1)
        at = np.unique(np.linspace(0, len(logit_N) - 1, GRID).astype(int))
        precision_DG = calls_DN[:, at] / count_N[at]
        recall_DG = calls_DN[:, at] / calls_DN[:, :1]
        values = [
            column
            for share_DG in (precision_DG, recall_DG)
            for column in (share_DG.mean(axis=0), *np.quantile(share_DG, (0.025, 0.975), axis=0))
        ]
        answers = int((sample.said_N != UNANSWERED).sum())
        events_G = np.round(count_N[at] * total / len(logit_N)).astype(int)
        return cls(expit(logit_N[at]), events_G, np.column_stack(values), answers)

    def for_precision(self, wanted: float) -> float | None:
        """The lowest threshold from which on this share is calls; None: no threshold gives it."""
        enough = np.flatnonzero(self.values_G6[:, 0] >= wanted)
        return float(self.threshold_G[enough[0]]) if len(enough) else None

    def for_recall(self, wanted: float) -> float:
        """The highest threshold that keeps this share of the calls among those reviewed."""
        enough = np.flatnonzero(self.values_G6[:, 3] >= wanted)
        return float(self.threshold_G[enough[-1]])

    def at(self, threshold: float) -> np.ndarray:
        """`COLUMNS` at a threshold."""
        return self.values_G6[int(np.abs(self.threshold_G - threshold).argmin())]

    def table(self, label: str) -> pd.DataFrame:
        """As `curve.csv` has it."""
        values = dict(zip(COLUMNS, self.values_G6.T, strict=True))
        return pd.DataFrame(
            {"label": label, "threshold": self.threshold_G, "events": self.events_G, **values}
        )


def write_curves(curves: dict[str, ScoreCurve], folder: Path) -> Sequence[Path]:
    """Write `curve.csv`, and the picture of it."""
    table = pd.concat([curve.table(label) for label, curve in curves.items()], ignore_index=True)
    write_csv(table, folder / CURVE_CSV, float_format="%.5g")
    return folder / CURVE_CSV, _draw(curves, folder / CURVE_PNG)


def _draw(curves: dict[str, ScoreCurve], path: Path) -> Path:
    with drawing(path, 6, 3 * len(curves)) as figure:
        axes = figure.subplots(len(curves), 1, squeeze=False)[:, 0]
        for axis, (label, curve) in zip(axes, curves.items(), strict=True):
            for first, name, colour in ((0, "precision", BLUE), (3, "recall", ORANGE)):
                middle, low, high = curve.values_G6[:, first : first + 3].T
                axis.plot(curve.threshold_G, middle, color=colour, label=name)
                axis.fill_between(curve.threshold_G, low, high, color=colour, alpha=0.2, lw=0)
            axis.set(ylim=(0, 1), xlabel="threshold (score)")
            axis.set_title(f"{label}, {counted(curve.answers, 'answer')}", fontsize=10)
            axis.legend(loc="lower left", fontsize=8)
    return path
