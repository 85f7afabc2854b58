"""Temperature scaling: recovers a known temperature, is stored with the checkpoint, and is used."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from g5.evaluation.episodes import calibration
from g5.evaluation.episodes.calibration import fit_temperature
from g5.evaluation.metrics import probability_scores
from g5.tracking.checkpoints import add_calibration, load
from g5.tracking.restore import restore
from tests.conftest import run_g5, run_train

CKPT = "outputs/protonet_baseline/v1_debug/checkpoints"


@pytest.mark.parametrize("temperature", [0.05, 1.0, 40.0, 3000.0])
def test_a_known_temperature_is_recovered(temperature):
    rng = np.random.default_rng(1)
    honest = 2 * rng.standard_normal((20_000, 5))
    way = np.array([rng.choice(5, p=p) for p in softmax(honest, axis=1)])
    fitted = fit_temperature(honest * temperature, way)
    assert fitted == pytest.approx(temperature, rel=0.05)
    after = probability_scores(softmax(honest * temperature / fitted, axis=1), way, n_classes=5)
    assert after.ece < 0.02


def test_no_mistakes_say_nothing_of_how_sure_to_be():
    assert fit_temperature(np.array([[3.0, 1.0], [0.0, 9.0]]), np.array([0, 1])) == 1.0


def test_answers_worse_than_guessing_get_warm():
    logits = np.array([[3.0, 1.0]] * 10)
    assert fit_temperature(logits, np.ones(10, int)) > 1000


def test_a_temperature_that_makes_it_worse_is_not_kept(monkeypatch):
    rng = np.random.default_rng(1)
    logits = 2 * rng.standard_normal((5000, 5))
    way = np.array([rng.choice(5, p=p) for p in softmax(logits, axis=1)])
    scores = SimpleNamespace(logits_AN=logits, way_A=way, class_AN=None)
    plan: Any = SimpleNamespace(episodes=[SimpleNamespace(support=np.zeros((5, 2)))])
    nothing: Any = None
    monkeypatch.setattr(calibration, "embed_plan", lambda *_, **__: None)
    monkeypatch.setattr(calibration, "evaluate_episodes", lambda *_, **__: scores)
    monkeypatch.setattr(calibration, "fit_temperature", lambda *_: 30.0)
    labels = list("abcde")
    found = calibration.calibrate(
        nothing, nothing, plan, nothing, labels, batch_size=1, device=None
    )
    assert (found.temperature, found.refused) == (1.0, 30.0)
    assert found.ece_after == found.ece_before < (found.ece_refused or 0)
    assert found.told.startswith("not calibrated: temperature 30, fitted on 1 validation episodes")


def test_training_stores_it_and_the_test_uses_it(place, capsys):
    run_train(["arch=v1", "debug=fast", "logger=none"])
    best = place / CKPT / "best_checkpoint.ckpt"
    stored = load(best)["g5"]["calibration"]
    assert stored["episodes"] == 4
    assert stored["nll_after"] <= stored["nll_before"]
    assert restore(best).temperature == stored["temperature"] != 1
    epoch = max(place.glob(f"{CKPT}/epoch_*"), key=lambda file: file.samefile(best))
    assert epoch.samefile(best)
    assert "on 4 validation episodes" in capsys.readouterr().out
    scores = place / "outputs" / "protonet_baseline" / "v1_debug" / "test_scores.json"
    with_it = json.loads(scores.read_text())
    assert with_it["temperature"] == stored["temperature"]

    content = load(best)
    del content["g5"]["calibration"]
    torch.save(content, place / CKPT / "older.ckpt")
    assert run_g5(["test", f"{CKPT}/older.ckpt", "logger=none"]) == 0
    assert "not calibrated" in capsys.readouterr().out
    (other,) = scores.parent.glob("test-*/test_scores.json")
    without = json.loads(other.read_text())
    assert without["temperature"] == 1
    assert without["accuracy"] == with_it["accuracy"]
    assert without["nll"] != with_it["nll"]


def test_every_name_of_a_checkpoint_gets_it(tmp_path):
    first, second, other = (tmp_path / name for name in ("a.ckpt", "b.ckpt", "c.ckpt"))
    content = {"g5": {"format": 1}, "state_dict": {"w": torch.ones(2)}}
    torch.save(content, first)
    second.hardlink_to(first)
    torch.save(content, other)
    add_calibration(first, {"temperature": 2.5})
    assert load(second)["g5"]["calibration"] == {"temperature": 2.5}
    assert second.samefile(first)
    assert "calibration" not in load(other)["g5"]
