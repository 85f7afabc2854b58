"""How many answers until precision is known to 5 points: the review's sample, and a uniform one.

A table is drawn with replacement from what `default` found of a species, so its precision is
known. Both stop as soon as half of their own interval is 5 points; the interval is then held
against the truth.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit

from g5.detection.review.estimate import (
    UNANSWERED,
    Draws,
    Sample,
    precision,
    spread_ranks,
    strata_of,
    wilson,
)

AIM, FIRST, STEP = 0.05, 20, 5
SIZES = (150, 1500)  # events of a table, log-uniform


@dataclass(frozen=True)
class ReviewedTable:
    """One table, reviewed until its precision is known.

    Attributes:
        true: its precision.
        answers: that were needed.
        share, low, high: what they say.
    """

    true: float
    answers: int
    share: float
    low: float
    high: float

    @property
    def covered(self) -> bool:
        """Whether the interval holds the truth."""
        return self.low - 1e-9 <= self.true <= self.high + 1e-9


def tables(found: pd.DataFrame, count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Log-odds and truth of the events of so many tables, species in turn."""
    rng = np.random.default_rng(seed)
    species = [rows for _, rows in found.groupby("label")]
    for number in range(count):
        rows = species[number % len(species)]
        size = int(np.exp(rng.uniform(*np.log(SIZES))))
        drawn = rows.iloc[rng.integers(len(rows), size=size)]
        logit_N = logit(drawn["score"].clip(1e-6, 1 - 1e-6).to_numpy(float))
        # Copies of one event are not one event.
        yield logit_N + rng.normal(0, 0.05, size), drawn["yes"].to_numpy(int)


def by_sample(logit_N: np.ndarray, truth_N: np.ndarray, seed: int) -> ReviewedTable:
    """As `g5 review` asks and reckons."""
    size, stratum_N = len(logit_N), strata_of(logit_N)
    rank_N = spread_ranks(stratum_N, seed)
    said_N, drawn_N = np.full(size, UNANSWERED), np.zeros(size, bool)
    for answers in range(1, size + 1):
        pick = Draws(Sample(logit_N, said_N, drawn_N, stratum_N), rank_N).take()
        said_N[pick], drawn_N[pick] = truth_N[pick], True
        if answers == size or (answers >= FIRST and answers % STEP == 0):
            one = precision(Sample(logit_N, said_N, drawn_N, stratum_N), look_ahead=False)
            if (one.high - one.low) / 2 <= AIM:
                return ReviewedTable(truth_N.mean(), answers, one.share, one.low, one.high)
    raise AssertionError(size)


def uniform(truth_N: np.ndarray, seed: int) -> ReviewedTable:
    """Events at random, and Wilson's interval with the correction for a finite number."""
    size = len(truth_N)
    said_N = np.random.default_rng(seed).permutation(truth_N)
    for answers in range(FIRST, size + 1):
        share = float(said_N[:answers].mean())
        # Where all were alike, as many more would hardly be.
        p = np.clip(share, 0.5 / (answers + 1), 1 - 0.5 / (answers + 1))
        variance = p * (1 - p) / answers * (1 - answers / size)
        low, high = wilson(float(p), variance, 10**6, 1)
        low, high = low * (share > 0), high if share < 1 else 1.0
        if (high - low) / 2 <= AIM:
            return ReviewedTable(truth_N.mean(), answers, share, low, high)
    raise AssertionError(size)
