"""Precision and recall against threshold, and the threshold that was asked for."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from g5.detection.review.calibration import ScoreCurve, write_curves
from g5.detection.review.estimate import UNANSWERED, Sample
from tests.conftest import run_g5
from tests.detection.review.found import make_found
from tests.detection.review.test_learning import answer_all


def reviewed(answers: int, seed: int = 0) -> tuple[ScoreCurve, np.ndarray, np.ndarray]:
    """Events whose chance of a call is known: log-odds -2 + 1.5 l."""
    rng = np.random.default_rng(seed)
    logit_N = rng.gamma(2, 1, 2000)
    truth_N = rng.random(2000) < expit(-2 + 1.5 * logit_N)
    said_N = np.full(2000, UNANSWERED)
    said_N[:answers] = truth_N[:answers]
    sample = Sample.of(logit_N, said_N, np.ones(2000, bool))
    return ScoreCurve.of(sample), expit(logit_N), truth_N


def test_many_answers_give_the_precision_and_the_recall_that_were_asked():
    curve, score_N, truth_N = reviewed(800)
    threshold = curve.for_precision(0.9)
    assert threshold is not None
    assert truth_N[score_N >= threshold].mean() == pytest.approx(0.9, abs=0.03)
    keeps = curve.for_recall(0.8)
    assert truth_N[score_N >= keeps].sum() / truth_N.sum() == pytest.approx(0.8, abs=0.03)
    assert logit(threshold) > logit(curve.threshold_G[0])


def test_the_interval_holds_the_truth_and_narrows():
    held, width = [], {}
    for seed in range(30):
        for answers in (40, 400):
            curve, score_N, _ = reviewed(answers, seed)
            middle = curve.threshold_G[100]
            chance_N = expit(-2 + 1.5 * logit(score_N))
            _, low, high = curve.at(middle)[:3]
            held.append(low <= chance_N[score_N >= middle].mean() <= high)
            width.setdefault(answers, []).append(high - low)
    assert np.mean(held) >= 0.85
    assert np.mean(width[400]) < np.mean(width[40]) / 2


@pytest.mark.usefixtures("drawn_figures")
def test_what_no_threshold_gives_is_said(tmp_path, capsys):
    found = make_found(tmp_path)
    answer_all(found, 20)
    table = "file,start_s,end_s,label,status,found_label,found_start_s,found_end_s,shown_by,answer,"
    (tmp_path / "none.csv").write_text(table + "seconds\n")
    more = ["review.recall=0.8", "review.precision=0.5"]
    assert run_g5(["review", str(found), "--answers", str(tmp_path / "none.csv"), *more]) == 0
    out = capsys.readouterr().out
    assert "recall 0.8: detection.threshold=0." in out
    assert "precision 0.5: detection.threshold=0." in out
    curve = pd.read_csv(found / "curve.csv")
    assert curve["recall"].iloc[0] == pytest.approx(1)
    assert curve["threshold"].is_monotonic_increasing
    assert (found / "curve.png").stat().st_size > 1000
    wanted = "review.precision=0.9999"
    assert run_g5(["review", str(found), "--answers", str(tmp_path / "none.csv"), wanted]) == 0
    assert "precision 0.9999: no threshold gives it" in capsys.readouterr().out


@pytest.mark.usefixtures("drawn_figures")
def test_names_of_any_script_are_drawn_and_written_as_texts(tmp_path, recwarn):
    curve, _, _ = reviewed(50)
    table, picture = write_curves({"=1+1 仓鸮 $x": curve}, tmp_path)
    assert set(pd.read_csv(table)["label"]) == {"'=1+1 仓鸮 $x"}
    assert picture.stat().st_size > 1000
    assert not list(recwarn)
