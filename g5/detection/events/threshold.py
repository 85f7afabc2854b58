"""The threshold, from the support alone, and scores that mean the same in every recording.

Positive scores are those of each shot against prototypes made of the others; negative scores are
the peaks of what lies between the shots, against negative prototypes made of the rest of it.
Nothing of what is to be found is looked at.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

# Thresholds that are tried between the least and the greatest score.
GRID = 401
# Expected F that thresholds may differ in and be as good.
AS_GOOD = 0.01


@dataclass(frozen=True)
class CalibratedThreshold:
    """Where a class's threshold lies, and how steep its scores are.

    Attributes:
        threshold: the raw score from which on a window is a call.
        scale: the raw score that makes one unit of logit.
        expected_f: F expected on calls and negatives like the support's.
    """

    threshold: float
    scale: float
    expected_f: float

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
    mean = float(np.median(positive_K))
    low = float(negative_M.mean()) if len(negative_M) else mean - 4 * float(np.std(positive_K))
    gap = max(mean - low, 1e-6)
    count = len(positive_K)
    own = float(np.var(positive_K))
    spread = float(np.sqrt((count * own + 3 * (prior_spread * gap) ** 2) / (count + 3)))
    blur = spread / 2
    least = min(low, float(positive_K.min()))
    grid_G = np.linspace(least, max(float(positive_K.max()), mean), GRID)
    hit_G = count * ndtr((mean - grid_G) / spread)
    false_G = ndtr((negative_M[:, None] - grid_G) / blur).sum(axis=0)
    f_G = 2 * hit_G / (hit_G + false_G + count)
    best = int(np.argmax(f_G))
    good = grid_G[f_G >= f_G[best] - AS_GOOD]
    threshold = float(good[0] + lean * (good[-1] - good[0]))
    return CalibratedThreshold(threshold, max(gap / 6, 1e-6), float(f_G[best]))
