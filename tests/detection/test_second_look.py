"""Events alone against the shots: what is heard of them, their traits, which of several stays."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml

from experiments.second_look.__main__ import (
    BIASES,
    Looked,
    f_of,
    fitted,
    learnt,
    shared,
    steepness,
    write,
)
from g5.config.settings import load
from g5.detection.corpus import detector_with
from g5.detection.events.boundaries import Outline
from g5.detection.events.threshold import CalibratedThreshold, calibrate
from g5.detection.scoring.scorer import Curve
from g5.detection.scoring.second_look import TRAITS, SecondLook, best_apart, negatives_of
from g5.detection.support import targets_of
from tests.detection.soundscapes import CALLS_S, RATE, chirp, embedder, opened, soundscape
from tests.detection.test_scoring import target_in

QUIET_S = 4.2


def test_what_lies_around_is_not_heard(night, tmp_path):
    sound, one = opened(night, tmp_path), embedder("v2", tmp_path)
    louder = sound.features_TM.clone()
    louder[:48] += 20
    louder[62:] += 20
    other, starts = replace(sound, features_TM=louder), np.array([40])
    heard = [np.array([[48, 62]])]
    for alone, same in ((heard, True), (None, False)):
        (a,) = one.cut([(sound, starts)], 32, None, alone)
        (b,) = one.cut([(other, starts)], 32, None, alone)
        assert torch.allclose(a, b, atol=1e-5) == same


def look_at(night, tmp_path) -> tuple[SecondLook, np.ndarray]:
    """The second look at the night's species, and traits of a later call and of silence."""
    sound, one = opened(night, tmp_path), embedder("v2", tmp_path)
    target = target_in(sound)
    at_N = np.arange(0.0, 15.0, 0.1)
    curve = Curve(
        at_N, np.zeros(150), np.full(5, 3.0), np.where(np.isclose(at_N, 4.0), 2.0, 0.0), at_N, 0.3,
        np.zeros(150), np.zeros(150, int),
    )  # fmt: skip
    found = calibrate(curve.positive_K, curve.negative_P, prior_spread=0.35, lean=0.8)
    outline = Outline.of(target, one.front_end, 0.5)
    where = [((other, at, at + 0.3), score) for other, at, score in
             negatives_of(target, curve, found)]  # fmt: skip
    weights = load([]).detection.look
    look = SecondLook.of(target, one, 24, outline, curve, found, where, weights)
    assert look is not None
    events = np.array([[CALLS_S[6], CALLS_S[6] + 0.3], [QUIET_S, QUIET_S + 0.3]])
    traits = look.looked(sound, events, np.array([3.0, 0.0]), found)
    assert look.own_K.shape == (5,)
    assert len(look.other_P) == len(where) > 0
    assert np.isfinite([*look.own_K, *look.other_P]).all()
    assert look.own_K.min() > look.other_P.max()
    single = replace(target, shots=target.shots[:1])
    alone = replace(curve, positive_K=curve.positive_K[:1])
    assert SecondLook.of(single, one, 24, outline, alone, found, where, weights) is None
    return look, traits


def test_a_call_is_told_from_what_is_none_by_every_trait_of_its_sound(night, tmp_path):
    look, traits = look_at(night, tmp_path)
    call, silence = (dict(zip(TRAITS, row, strict=True)) for row in traits)
    assert call["score"] > silence["score"]
    assert call["margin"] > silence["margin"]
    assert call["spectrum"] > silence["spectrum"]
    assert call["loudness"] > silence["loudness"]
    assert call["nearest"] <= call["usual"]
    assert call["length"] == pytest.approx(silence["length"])
    odds = look.log_odds(traits)
    assert odds[0] > odds[1]
    higher = replace(look, weights=replace(look.weights, bias=look.weights.bias + 1))
    np.testing.assert_allclose(higher.log_odds(traits), odds + 1)


def test_what_is_far_from_the_gaps_gains_nothing_by_it(night, tmp_path):
    look, _ = look_at(night, tmp_path)
    sound, events = opened(night, tmp_path), np.array([[13.0, 13.3], [QUIET_S, QUIET_S + 0.3]])
    parts = events, np.array([3.0, 0.0]), CalibratedThreshold(1.0, 1.0, 1.0)
    at = list(TRAITS).index("others")
    few = replace(look, negatives=look.negatives[:1], negative_PD=look.negative_PD[:1])
    none = replace(look, negatives=[], negative_PD=look.negative_PD[:0])
    for one in (look, few):
        assert one.looked(sound, *parts)[:, at].max() <= 0
        alike = one.negative_PD[:1].repeat(2, 1)
        assert one.traits(sound, events, alike, *parts[1:])[0, at] < -1
    assert none.looked(sound, *parts)[:, at].tolist() == [0.0, 0.0]


def test_a_call_may_lie_anywhere_in_the_window_that_hears_it(tmp_path):
    blip, starts = chirp(0.05, 600, 1800), [1.0, 1.9, 3.1, 4.0, 5.2, 8.0]
    soundfile.write(tmp_path / "blips.wav", soundscape(10, dict.fromkeys(starts, blip)), RATE)
    sound = opened(tmp_path / "blips.wav", tmp_path)
    settings = load(["detection.min_window_s=0.4"]).detection
    detector, _ = detector_with(embedder("v2", tmp_path), settings, block_s=3.0)
    rows = pd.DataFrame({"start_s": starts[:5], "file": "blips", "label": "up", "status": "POS"})
    rows = rows.assign(end_s=rows["start_s"] + 0.05)
    (target,) = targets_of(rows, lambda _: sound, shots=5, negatives="gaps", problem=print)
    time_N = np.arange(0.2, 9.8, 0.1)
    logit_N = np.where(np.isclose(time_N, 8.1), 1.0, -9.0)
    curve = Curve(
        time_N, logit_N, np.ones(5), np.zeros(0), np.zeros(0), 0.4, np.zeros(96), np.zeros(96, int)
    )
    parts = sound, target, curve, CalibratedThreshold(0.0, 1.0, 1.0)
    look = detector.look(*parts)
    assert look is not None
    _, bounds, _ = detector.looked(*parts, look)
    assert shared(bounds, np.array([[8.0, 8.05]])).ravel() > 0.3


def test_of_events_that_overlap_the_likeliest_stays():
    bounds = np.array([[0, 2], [1, 3], [2.5, 4], [6, 7], [6.5, 9], [5, 6]], dtype=float)
    assert best_apart(bounds, np.array([1.0, 5.0, 2.0, 1.0, 3.0, 0.0])).tolist() == [1, 5, 4]
    assert best_apart(np.zeros((0, 2)), np.zeros(0)).tolist() == []


def looked_at(rng: np.random.Generator, number: int) -> Looked:
    """A task whose calls are those with a high fourth trait."""
    traits = rng.normal(size=(400, len(TRAITS)))
    start = np.arange(400.0)
    call = traits[:, 3] + 0.3 * rng.normal(size=400) > 0.5
    calls = np.column_stack([start, start + 0.5])
    on = shared(calls, calls[call]) >= 0.3
    kind = "ab"[number % 2]
    return Looked(kind, f"{number}", calls, traits, on)


def test_weights_are_learnt_of_what_tells_calls(tmp_path):
    rng = np.random.default_rng(0)
    looked = [looked_at(rng, number) for number in range(10)]
    model = fitted(looked)
    assert np.argmax(np.abs(model[1:])) == 3
    rows = [(one, one.traits_EX @ model[1:] + model[0]) for one in looked]
    assert max(f_of(rows, least) for least in BIASES) > 0.7
    assert f_of(rows, 99.0) == 0.0
    drawn_together = [(one, odds / 3) for one, odds in rows]
    assert steepness(drawn_together) == pytest.approx(3 * steepness(rows), rel=1e-2)
    assert steepness(rows) > 1, "the penalty is strong"
    weights, f_of_kind = learnt(looked)
    assert min(f_of_kind["a"], f_of_kind["b"]) > 0.7
    assert list(weights) == ["bias", *TRAITS]
    path = tmp_path / "y.yaml"
    lines = "".join(f"  {name}: 0.0   # why\n" for name in weights)
    path.write_text(f"x: 1\nlook:\n{lines}level: 0.5\n")
    write(weights, path)
    said = yaml.safe_load(path.read_text())
    assert said == {"x": 1, "look": pytest.approx(weights, abs=1e-3), "level": 0.5}
    assert path.read_text().count("# why") == len(weights)
