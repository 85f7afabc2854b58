"""The threshold, from the support alone, and scores that mean the same in every recording.

Positive scores are those of each shot against prototypes made of the others; negative scores are
the peaks of what lies between the shots, against negative prototypes made of the rest of it.
Nothing of what is to be found is looked at.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr, ndtri

# Thresholds that are tried between the least and the greatest score.
GRID = 401
# Expected F that thresholds may differ in and be as good.
AS_GOOD = 0.01
# Nothing is less apart than this.
LEAST = 1e-6
# Spreads above the mean shot up to which a precision is looked for.
FAR = 2.0


@dataclass(frozen=True)
class CalibratedThreshold:
    """Where a class's threshold lies, and how steep its scores are.

    Attributes:
        threshold: the raw score from which on a window is a call.
        scale: the raw score that makes one unit of logit.
        expected_f: F expected on calls and negatives like the support's.
        least: log-odds that an event reaches somewhere.
    """

    threshold: float
    scale: float
    expected_f: float
    least: float = 0.0

    def logit(self, score: np.ndarray) -> np.ndarray:
        """Calibrated log-odds: 0 at the threshold."""
        return (score - self.threshold) / self.scale

    def probability(self, score: np.ndarray) -> np.ndarray:
        """Calibrated score in (0, 1): 0.5 at the threshold."""
        return expit(self.logit(score))


def calibrate(
    positive_K: np.ndarray, negative_M: np.ndarray, *, prior_spread: float, lean: float
) -> CalibratedThreshold:
    """The threshold with the highest expected F among calls and negatives like the support's.

    Shots' scores are taken for a normal distribution, whose spread is drawn towards a share of
    the gap to the negatives because five values say little of it; each negative peak stands for
    itself, blurred by half of that spread.

    Args:
        positive_K: leave-one-out scores of the shots.
        negative_M: scores of the negative peaks in the same stretch of sound; may be empty.
        prior_spread: the shots' spread one would expect, as a share of the gap between the mean
            shot and the mean negative peak.
        lean: where a stretch of thresholds is as good as the best, 0 takes its lowest and 1 its
            highest: the gaps are a small part of all that can sound.
    """
    expected = Expected.of(positive_K, negative_M, prior_spread)
    mean, low, count = expected.mean, expected.low, len(positive_K)
    least = min(low, float(positive_K.min()))
    grid_G = np.linspace(least, max(float(positive_K.max()), mean), GRID)
    hit_G, false_G = expected.at(grid_G)
    f_G = 2 * hit_G / (hit_G + false_G + count)
    best = int(np.argmax(f_G))
    good = grid_G[f_G >= f_G[best] - AS_GOOD]
    threshold = float(good[0] + lean * (good[-1] - good[0]))
    return CalibratedThreshold(threshold, max(max(mean - low, LEAST) / 6, LEAST), float(f_G[best]))


def asked_for(
    positive_K: np.ndarray, negative_M: np.ndarray, *, prior_spread: float,
    precision: float | None, recall: float | None,
) -> float:  # fmt: skip
    """The raw score from which on this share of events are calls, or of calls are events.

    It is extrapolated: among calls and negatives like the support's, in its proportions.

    Args:
        positive_K, negative_M, prior_spread: as `calibrate` takes them.
        precision: the lowest score with it is told.
        recall: the highest score with it is told; only one of the two is asked for.
    """
    expected = Expected.of(positive_K, negative_M, prior_spread)
    if recall is not None:
        return expected.mean - expected.spread * float(ndtri(recall))
    assert precision is not None
    grid_G = np.linspace(expected.low, expected.mean + FAR * expected.spread, GRID)
    hit_G, false_G = expected.at(grid_G)
    enough_G = hit_G >= precision * (hit_G + false_G)
    return float(grid_G[int(np.argmax(enough_G)) if enough_G.any() else -1])


@dataclass(frozen=True)
class Expected:
    """How many shots and negatives like the support's lie above a score.

    Attributes:
        mean, spread: of the shots' scores, a normal distribution.
        low: the mean negative.
        count: shots.
        negative_M: scores of negatives, each blurred by half of the spread.
    """

    mean: float
    spread: float
    low: float
    count: int
    negative_M: np.ndarray

    @classmethod
    def of(cls, positive_K: np.ndarray, negative_M: np.ndarray, prior_spread: float) -> "Expected":
        """From the support's scores."""
        mean, count = float(np.median(positive_K)), len(positive_K)
        low = float(negative_M.mean()) if len(negative_M) else mean - 4 * float(np.std(positive_K))
        own = float(np.var(positive_K))
        prior = 3 * (prior_spread * max(mean - low, LEAST)) ** 2
        return cls(
            mean, float(np.sqrt((count * own + prior) / (count + 3))), low, count, negative_M
        )

    def at(self, grid_G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shots and negatives above scores, (G,) each."""
        hit_G = self.count * ndtr((self.mean - grid_G) / self.spread)
        false_G = ndtr((self.negative_M[:, None] - grid_G) / (self.spread / 2)).sum(axis=0)
        return hit_G, false_G
