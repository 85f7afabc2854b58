"""Precision from as few answers as possible: strata of score, and a difference estimator.

Events are parted by score into strata of equal size. The next answer is asked where it lowers the
variance most (Neyman 1934), within a stratum spread over recordings and their time. A logistic
curve over the score says what each event is expected to be; the answers correct it stratum by
stratum (Särndal, Swensson and Wretman 1992), so that a wrong curve costs answers, not truth. The
interval is Wilson's (1927) on the number of plain answers that are worth as much.

Shapes: N events of a species, H strata.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import t as student

# Events in a stratum at least, and strata at most.
LEAST, MOST = 12, 8
# What is believed before any answer: log-odds of a call at the threshold, and their rise with the
# score's; each with its standard deviation.
PRIOR_MEAN, PRIOR_SD = np.array([0.5, 0.8]), np.array([1.5, 0.7])
# Log-odds beyond which a score says no more: the curve must not be sure of errors there.
KNOWN = (-8.0, 4.0)
# Answers that the curve's variance is worth beside those of a stratum: experiments/review.
BELIEF = 1.0
# No event is more certain than this.
SURE = 0.003
# Answers that the search for half the interval goes through.
FAR = 3000
UNANSWERED, NO, YES = -1, 0, 1


@dataclass(frozen=True)
class Sample:
    """The events of a species, and what has been said of them.

    Attributes:
        logit_N: calibrated log-odds of the score.
        said_N: `UNANSWERED`, `NO` or `YES`.
        drawn_N: whether an answer was asked for by the sample, and not by another order.
        stratum_N: which stratum an event is in, 0 the least certain.
    """

    logit_N: np.ndarray
    said_N: np.ndarray
    drawn_N: np.ndarray
    stratum_N: np.ndarray

    @classmethod
    def of(cls, logit_N: np.ndarray, said_N: np.ndarray, drawn_N: np.ndarray) -> "Sample":
        """Part the events into strata."""
        return cls(logit_N, said_N, drawn_N, strata_of(logit_N))

    @property
    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each stratum: the events that the sample can draw, and those it has, (H,) each."""
        chosen_N = (self.said_N != UNANSWERED) & ~self.drawn_N
        answered_N = (self.said_N != UNANSWERED) & self.drawn_N
        size = int(self.stratum_N.max()) + 1
        room_H = np.bincount(self.stratum_N[~chosen_N], minlength=size)
        return room_H, np.bincount(self.stratum_N[answered_N], minlength=size)


@dataclass(frozen=True)
class Precision:
    """The share of the events that are calls, with its 95 % interval.

    Attributes:
        share, low, high: fractions.
        answers: yes or no, that it stands on.
        to_halve: how many more answers would halve the interval; None: not within reach.
    """

    share: float
    low: float
    high: float
    answers: int
    to_halve: int | None


def strata_of(logit_N: np.ndarray) -> np.ndarray:
    """Strata of equal size by score, (N,) numbers from 0."""
    count = int(np.clip(len(logit_N) // LEAST, 1, MOST))
    rank_N = np.empty(len(logit_N), int)
    rank_N[np.argsort(logit_N, kind="stable")] = np.arange(len(logit_N))
    return rank_N * count // max(len(logit_N), 1)


def chances(logit_N: np.ndarray, said_N: np.ndarray) -> np.ndarray:
    """The chance of each event to be a call: a logistic curve over the score, (N,)."""
    logit_N = np.clip(logit_N, *KNOWN)
    a, b = logistic(logit_N, said_N)[0]
    return expit(a + b * logit_N)


def logistic(logit_N: np.ndarray, said_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offset and rise of the logistic curve through the answers, and their covariance.

    The greatest posterior by Newton's method, and Laplace's approximation around it.
    """
    seen = said_N != UNANSWERED
    x_A2 = np.column_stack([np.ones(int(seen.sum())), logit_N[seen]])
    y_A = said_N[seen].astype(float)
    prior = np.diag(PRIOR_SD**-2.0)
    beta = PRIOR_MEAN.copy()
    for _ in range(30):
        p_A = expit(x_A2 @ beta)
        slope = x_A2.T @ (y_A - p_A) - prior @ (beta - PRIOR_MEAN)
        bend = (x_A2 * (p_A * (1 - p_A))[:, None]).T @ x_A2 + prior
        step = np.linalg.solve(bend, slope)
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return beta, np.linalg.inv(bend)


def precision(sample: Sample, *, look_ahead: bool = True) -> Precision:
    """What the answers say of all events; without any, what the score alone would say."""
    said_N, total = sample.said_N, len(sample.said_N)
    seen_N = said_N != UNANSWERED
    p_N = chances(sample.logit_N, said_N)
    share = (np.sum(said_N == YES) + p_N[~seen_N].sum()) / total
    room_H, have_H = sample.counts
    drawn_N = seen_N & sample.drawn_N
    rest_H = np.bincount(sample.stratum_N[~seen_N], minlength=len(room_H))
    miss_H = np.bincount(sample.stratum_N[drawn_N], said_N[drawn_N] - p_N[drawn_N], len(room_H))
    share += float((rest_H * miss_H / np.maximum(have_H, 1)).sum()) / total
    spread_H = _spread(sample, p_N, have_H)
    variance = _variance(room_H, have_H, spread_H, total)
    answers, share = int(seen_N.sum()), float(np.clip(share, 0, 1))
    low, high = wilson(share, variance, int(have_H.sum()), len(room_H))
    # Answers that are all alike exclude nothing on their side.
    if answers and not np.any(said_N == NO):
        high = 1.0
    if answers and not np.any(said_N == YES):
        low = 0.0
    to_halve = _to_halve(room_H, have_H, spread_H, total) if look_ahead else None
    return Precision(share, low, high, answers, to_halve)


def wilson(share: float, variance: float, answers: int, strata: int) -> tuple[float, float]:
    """95 % interval around a share with this variance."""
    if variance <= 0:
        return share, share
    z = float(student.ppf(0.975, max(answers - strata, 4)))
    p = float(np.clip(share, 0.25 / (answers + 1), 1 - 0.25 / (answers + 1)))
    n = p * (1 - p) / variance
    middle, half = p + z**2 / (2 * n), z * np.sqrt(variance + z**2 / (4 * n**2))
    low, high = (middle + sign * half for sign in (-1, 1))
    return max(0.0, min(share, low / (1 + z**2 / n))), min(1.0, max(share, high / (1 + z**2 / n)))


class Draws:
    """Which events the sample asks for next, one after the other.

    Args:
        sample: what has been said.
        rank_N: within a stratum, events come in this order.
        taken: events that somebody else is shown.
    """

    def __init__(self, sample: Sample, rank_N: np.ndarray, taken: Collection[int] = ()) -> None:
        self._room_H, self._have_H = sample.counts
        p_N = chances(sample.logit_N, sample.said_N)
        self._spread_H = _spread(sample, p_N, self._have_H)
        self._total = len(sample.said_N)
        left = sample.said_N == UNANSWERED
        left[list(taken)] = False
        self._left: list[list[int]] = []
        for h in range(len(self._room_H)):
            own = np.flatnonzero(left & (sample.stratum_N == h))
            self._left.append(own[np.argsort(-rank_N[own], kind="stable")].tolist())

    def gain(self) -> float:
        """By how much the next answer lowers the variance of the share; 0: all is answered."""
        return float(self._gains().max(initial=0.0)) / self._total**2

    def take(self) -> int:
        """The next event; it counts as answered from now on."""
        h = int(self._gains().argmax())
        self._have_H[h] += 1
        return self._left[h].pop()

    def _gains(self) -> np.ndarray:
        left_H = np.array([bool(left) for left in self._left])
        return np.where(left_H, _gain(self._room_H, self._have_H, self._spread_H), 0.0)


def spread_ranks(stratum_N: np.ndarray, seed: int) -> np.ndarray:
    """Ranks within strata such that the first of any number are spread over the rows, (N,).

    A van der Corput sequence from a random start: of rows that are sorted by recording and time,
    each has the same chance to be first, and neighbours come far apart.
    """
    rng = np.random.default_rng(seed)
    rank_N = np.empty(len(stratum_N))
    for h in range(int(stratum_N.max(initial=-1)) + 1):
        own = np.flatnonzero(stratum_N == h)
        place = (np.arange(len(own)) + rng.random()) / max(len(own), 1)
        bits = int(np.ceil(np.log2(max(len(own), 2)))) + 1
        whole = np.floor((place + rng.random()) % 1 * 2**bits).astype(np.int64)
        turned = np.zeros_like(whole)
        for _ in range(bits):
            turned, whole = turned << 1 | (whole & 1), whole >> 1
        rank_N[own] = turned
    return rank_N


def _spread(sample: Sample, p_N: np.ndarray, have_H: np.ndarray) -> np.ndarray:
    """Variance of an answer around what is expected of it, by stratum (H,)."""
    size = np.bincount(sample.stratum_N, minlength=len(have_H))
    certain_N = np.clip(p_N, SURE, 1 - SURE)
    model_H = np.bincount(sample.stratum_N, certain_N * (1 - certain_N), len(have_H)) / size
    drawn_N = (sample.said_N != UNANSWERED) & sample.drawn_N
    miss_N = (sample.said_N - p_N)[drawn_N] ** 2
    miss_H = np.bincount(sample.stratum_N[drawn_N], miss_N, len(have_H))
    return (BELIEF * model_H + miss_H) / (BELIEF + have_H)


def _variance(room_H: np.ndarray, have_H: np.ndarray, spread_H: np.ndarray, total: int) -> float:
    # Where nothing was drawn, one answer's doubt stands for the curve's.
    drawn_H = np.maximum(have_H, 1)
    left_H = np.where(have_H > 0, 1 - have_H / np.maximum(room_H, 1), 1.0)
    return float((room_H**2 * left_H * spread_H / drawn_H).sum()) / total**2


def _gain(room_H: np.ndarray, have_H: np.ndarray, spread_H: np.ndarray) -> np.ndarray:
    """By how much one more answer lowers the variance, times N squared (H,)."""
    first_H = have_H == 0
    gain_H = room_H**2 * spread_H / (np.maximum(have_H, 1) * (have_H + 1.0))
    return np.where(have_H >= room_H, 0.0, np.where(first_H, 1e12 + gain_H, gain_H))


def _to_halve(
    room_H: np.ndarray, have_H: np.ndarray, spread_H: np.ndarray, total: int
) -> int | None:
    """Answers until the variance is a quarter, the spread staying what it is."""
    aim = _variance(room_H, have_H, spread_H, total) / 4
    have_H = have_H.copy()
    for more in range(1, FAR):
        gain_H = _gain(room_H, have_H, spread_H)
        best = int(gain_H.argmax())
        if gain_H[best] <= 0:
            return None
        have_H[best] += 1
        if _variance(room_H, have_H, spread_H, total) <= aim:
            return more
    return None
