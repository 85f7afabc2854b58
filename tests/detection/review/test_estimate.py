"""Precision from a sample: right on average, its interval as wide as it says."""

import numpy as np
import pytest
from scipy.special import expit

from g5.detection.review.estimate import (
    UNANSWERED,
    Draws,
    Sample,
    precision,
    spread_ranks,
    strata_of,
    wilson,
)


def reviewed(
    seed: int, answers: int, *, size: int = 400, rise: float = 1.5, offset: float = -1.0
) -> tuple[Sample, float]:
    """A table of scores after so many answers, and its true precision."""
    rng = np.random.default_rng(seed)
    logit_N = rng.gamma(2, 0.8, size)
    truth_N = (rng.random(size) < expit(offset + rise * logit_N)).astype(int)
    said_N, drawn_N = np.full(size, UNANSWERED), np.zeros(size, bool)
    rank_N = spread_ranks(strata_of(logit_N), seed)
    for _ in range(answers):
        pick = Draws(Sample.of(logit_N, said_N, drawn_N), rank_N).take()
        said_N[pick], drawn_N[pick] = truth_N[pick], True
    return Sample.of(logit_N, said_N, drawn_N), float(truth_N.mean())


def test_the_share_is_right_on_average_and_the_interval_holds_it():
    found = [(precision(sample, look_ahead=False), true) for sample, true in
             (reviewed(seed, 50) for seed in range(40))]  # fmt: skip
    errors = np.array([one.share - true for one, true in found])
    assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(40)
    assert np.mean([one.low <= true <= one.high for one, true in found]) >= 0.85


def test_a_curve_that_is_wrong_costs_answers_and_not_truth():
    """The score says the contrary of what is true."""
    found = [(precision(sample, look_ahead=False), true) for sample, true in
             (reviewed(seed, 60, rise=-1.0, offset=1.5) for seed in range(40))]  # fmt: skip
    errors = np.array([one.share - true for one, true in found])
    assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(40)
    assert np.mean([one.low <= true <= one.high for one, true in found]) >= 0.85


def test_all_answered_is_certain():
    sample, true = reviewed(1, 120, size=120)
    one = precision(sample)
    assert (one.low, one.share, one.high) == pytest.approx((true, true, true))
    assert one.to_halve is None


@pytest.mark.parametrize(("offset", "share"), [(40.0, 1.0), (-40.0, 0.0)])
def test_answers_that_are_all_alike_do_not_exclude_that_all_events_are(offset, share):
    sample, true = reviewed(1, 30, offset=offset)
    one = precision(sample)
    assert true == share
    assert one.low <= true <= one.high
    assert 0.02 < one.high - one.low < 0.5


def test_answers_by_another_order_count_but_speak_for_no_other_event():
    sample, _ = reviewed(2, 0)
    said_N = sample.said_N.copy()
    top = np.argsort(-sample.logit_N)[:100]
    said_N[top] = 0  # the best are all wrong, and were looked at because they are the best
    chosen = Sample.of(sample.logit_N, said_N, np.zeros(len(said_N), bool))
    room_H, have_H = chosen.counts
    assert room_H.sum() == 300
    assert have_H.sum() == 0
    assert precision(chosen, look_ahead=False).share <= 0.75


def test_so_many_more_answers_do_halve_the_interval():
    before, _ = reviewed(3, 40, size=2000)
    now = precision(before)
    assert now.to_halve is not None
    after = precision(reviewed(3, 40 + now.to_halve, size=2000)[0], look_ahead=False)
    assert (after.high - after.low) / (now.high - now.low) == pytest.approx(0.5, abs=0.12)


def test_wilson_against_its_formula():
    share, n = 0.8, 100
    low, high = wilson(share, share * (1 - share) / n, 10_000, 1)
    assert (low, high) == pytest.approx((0.7112, 0.8666), abs=5e-4)


def test_the_first_of_a_stratum_are_spread_over_its_rows():
    rank_N = spread_ranks(np.zeros(64, int), 5)
    first = np.sort(np.argsort(rank_N)[:8])
    assert np.diff(first).max() <= 12, "no long stretch of the night without one"
