"""`g5 plan`: shots pasted into gaps at known ratios, and what is said of what is found."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from g5.common.errors import UserError
from g5.detection.plan.paste import SNR_DB, gaps_sound, paste
from g5.detection.plan.plan import Tried, told
from g5.detection.support import Target, targets_of
from tests.conftest import run_g5
from tests.detection.soundscapes import CALLS_S, RATE, audacity, opened


def target(night, folder, starts: list[float]) -> Target:
    sound = opened(night, folder)
    rows = pd.DataFrame({"start_s": starts, "file": "night", "label": "up", "status": "POS"})
    (one,) = targets_of(
        rows.assign(end_s=rows["start_s"] + 0.3), lambda _: sound, shots=None, negatives="gaps",
        problem=print,
    )  # fmt: skip
    return one


def test_shots_lie_in_the_gaps_at_the_ratios_that_are_told(night, tmp_path):
    one = target(night, tmp_path, CALLS_S[5:])
    # One gap without another species' call.
    gaps_T = gaps_sound(one, RATE)[: round(1.0 * RATE)]
    found = paste(one.shots[0], gaps_T, RATE, seed=0)
    assert sorted(found.snr_P) == sorted(np.repeat(SNR_DB, 3))
    assert np.diff(found.times_P2, axis=1) == pytest.approx(0.3, abs=1e-3)
    ends_N = (found.times_P2 * RATE).round().astype(int)
    power_P = np.array([np.square(found.samples_T[a:b]).mean() for a, b in ends_N])
    above_P = power_P - np.square(gaps_T).mean()
    for snr, other in pairwise(SNR_DB):
        ratio = above_P[found.snr_P == other].mean() / above_P[found.snr_P == snr].mean()
        assert 10 * np.log10(ratio) == pytest.approx(other - snr, abs=1.5)
    assert 25 < found.own_db < 45
    with pytest.raises(UserError, match=r"s lie between its shots"):
        gaps_sound(target(night, tmp_path, [1.0, 1.35]), RATE)


def test_the_verdict_says_what_is_found_and_which_shot_to_replace():
    snr_P = np.repeat(SNR_DB, 3)
    good = Tried("a", 8.0, snr_P, snr_P >= 10, 2, 0.5)
    other = replace(good, name="b")
    said = told("up", [good, other, Tried("c", 8.0, snr_P, snr_P > 90, 0, 0.5)], 1800.0)
    assert "even of loud calls" in said
    assert "replace c: the others find 0% of it, and 60% of each other" in said
    said = told("up", [good, other], 1800.0)
    assert "of calls at 10 dB and more 80% or more are found" in said
    assert "false alarms: 4 an hour" in said
    assert "replace" not in said
    assert "quieter" not in said
    loud = Tried("a", 30.0, snr_P, snr_P >= 10, 2, 0.5)
    assert "mark quieter calls, too" in told("up", [loud, replace(loud, name="b")], 1800.0)


def test_a_plan_is_told_in_tables_and_bad_input_in_a_line(job, checkpoints, tmp_path, capsys):
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:3]})
    audacity(tmp_path / "one.txt", {"up": CALLS_S[:1]})
    encoder = ["--encoder", str(checkpoints["v2"])]
    assert run_g5(["plan", "calls.txt", "night.wav", *encoder]) == 0
    said = capsys.readouterr().out
    assert "up: 3 shots" in said
    assert "verdict: " in said
    assert run_g5(["plan", "one.txt", "night.wav", *encoder]) == 1
    assert "mark two or more" in capsys.readouterr().err
    assert run_g5(["plan", "none.txt", "night.wav", *encoder]) == 1
    assert "none.txt" in capsys.readouterr().err
