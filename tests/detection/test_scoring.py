"""From embeddings to events: prototypes, thresholds, curves, the gate."""

from dataclasses import replace
from time import process_time

import numpy as np
import pandas as pd
import pytest
import torch

from g5.detection.embedding.sound import Sound
from g5.detection.events.boundaries import Durations, Outline
from g5.detection.events.curve import (
    EventShape,
    crossing,
    hysteresis,
    joined,
    maxima,
    parted,
    smoothed,
)
from g5.detection.events.gate import Gate
from g5.detection.events.threshold import asked_for, calibrate
from g5.detection.scoring.fit import SupportEmbeddings, second_kind
from g5.detection.scoring.prototypes import Prototypes, clusters
from g5.detection.scoring.scorer import cross_scored, peaks
from g5.detection.scoring.template_scorer import correlated
from g5.detection.support import Target, targets_of
from preprocessing.frontend import LogMel
from tests.detection.soundscapes import CALLS_S, MEL, opened, restored


def test_clusters_find_far_apart_groups_and_repeat_themselves():
    torch.manual_seed(0)
    x = torch.cat([torch.randn(20, 3) + 20 * i for i in range(3)])
    centres = clusters(x, 3)
    assert len(centres) == 3
    assert torch.equal(centres, clusters(x, 3))
    assert sorted(centres.mean(1).round().div(20).round().tolist()) == [0, 1, 2]
    assert len(clusters(x[:2], 5)) == 2


def test_shots_of_two_kinds_are_both_found():
    model = restored("v2").model
    kinds = torch.zeros(5, 32)
    kinds[:3, 0], kinds[3:, 1] = 6.0, 6.0
    score = Prototypes(kinds, torch.zeros(1, 32), model).score
    between = kinds.mean(dim=0, keepdim=True)
    (one, other, mean, nothing) = score(torch.cat([kinds[:1], kinds[-1:], between, between * 0]))
    assert min(one, other) > mean + 20, "their mean is no call"
    assert nothing < 0


def test_shots_of_two_kinds_are_told_where_they_are_clear():
    model = restored("v2").model

    def second(at: list[float], spread: float = 0.2) -> tuple[int, ...]:
        torch.manual_seed(1)
        z_KD = spread * torch.randn(len(at), 32)
        z_KD[:, 0] += torch.tensor(at)
        empty = torch.zeros(0, 32)
        return second_kind(SupportEmbeddings(z_KD[:, None], empty, empty), model)

    assert second([0, 9, 0, 9, 0]) == (1, 3)
    assert second([9, 9, 0, 0]) in ((0, 1), (2, 3))
    assert second([0, 9, 0, 0, 0]) == (), "one that is odd is no kind"
    assert second([0, 9, 9]) == (), "too few"
    assert second([0, 0, 0, 0, 0]) == ()
    assert second([0, 1, 0, 1, 0], spread=0.5) == ()


def target_in(sound: Sound) -> Target:
    """The species of the first five calls of the night."""
    rows = pd.DataFrame({"start_s": CALLS_S[:5], "file": "night", "label": "up", "status": "POS"})
    (target,) = targets_of(
        rows.assign(end_s=rows["start_s"] + 0.3), lambda _: sound, shots=5, negatives="gaps",
        problem=print,
    )  # fmt: skip
    return target


def test_nothing_is_an_event_where_nothing_happens(night, tmp_path):
    sound = opened(night, tmp_path)
    target = target_in(sound)
    front_end = LogMel(**MEL, floor_db=-100)
    gate = Gate.of(target, Outline.of(target, front_end, 0.5), 0.6)
    starts = np.array([*CALLS_S[5:], 4.2, 10.5, 26.0, 28.0])
    opened_E = gate.opens(sound, np.column_stack([starts, starts + 0.3]))
    assert opened_E.tolist() == [True] * 5 + [False] * 4
    assert not Gate(gate.outline, 99 * gate.least).opens(sound, np.array([[1.0, 1.3]])).any()


def test_an_event_is_as_long_as_the_shots_where_its_frames_do_not_say(night, tmp_path):
    """Ends are those of the frames where these are clear, and of the shots' lengths elsewhere."""
    sound = opened(night, tmp_path)
    target = target_in(sound)
    outline = Outline.of(target, LogMel(**MEL, floor_db=-100), 0.5)
    for start in CALLS_S[5:]:
        begin, end = outline.ends(sound, start + 0.05, start + 0.25, 1.0, step_s=0.05)
        assert (begin, end) == (
            pytest.approx(start, abs=0.05),
            pytest.approx(start + 0.3, abs=0.05),
        )
    # Every frame as loud: nothing but the lengths and the window's middle.
    flat = replace(outline, weight_M=np.zeros(16), offset=1.0)
    begin, end = flat.ends(sound, 10.0, 10.2, 5.0, step_s=0.05)
    assert 0.3 <= end - begin < 0.5
    assert (begin + end) / 2 == pytest.approx(10.1, abs=0.1)
    begin, end = flat.ends(sound, 10.0, 10.2, 0.1, step_s=0.05)
    assert end - begin == pytest.approx(0.1, abs=0.02), "never longer than is asked for"


def test_lengths_that_differ_are_expected_to():
    alike, unlike = Durations.of(np.full(5, 0.3)), Durations.of(np.array([0.1, 0.2, 0.3, 1, 2]))
    assert alike.median_s == pytest.approx(0.3)
    assert alike.log_odds(np.array([0.3])) == [0]
    one, other = (d.log_odds(np.array([d.median_s * 3]))[0] for d in (alike, unlike))
    assert one < other < 0


def test_the_threshold_lies_between_shots_and_negatives():
    positive = np.array([5.0, 6.0, 5.5, 6.2, 5.1])
    negative = np.random.default_rng(0).normal(0, 1, 200)
    found = calibrate(positive, negative, prior_spread=0.25, lean=0.5)
    assert negative.max() < found.threshold < positive.min()
    assert found.probability(np.array([found.threshold])) == pytest.approx(0.5)
    assert found.expected_f > 0.9
    hopeless = calibrate(positive - 5.5, negative, prior_spread=0.25, lean=0.5)
    assert hopeless.expected_f < 0.5


def test_the_threshold_follows_the_scale_of_the_scores():
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(5, 1, 5), rng.normal(0, 1, 50)
    one = calibrate(positive, negative, prior_spread=0.25, lean=0.5)
    ten = calibrate(10 * positive + 3, 10 * negative + 3, prior_spread=0.25, lean=0.5)
    assert ten.threshold == pytest.approx(10 * one.threshold + 3, abs=0.3)


def test_a_precision_and_a_recall_are_what_calls_like_the_shots_give():
    rng = np.random.default_rng(2)
    positive, negative = rng.normal(5, 1, 20), rng.normal(2, 1, 40)

    def asked(precision: float | None = None, recall: float | None = None) -> float:
        wanted = {"precision": precision, "recall": recall}
        return asked_for(positive, negative, prior_spread=0.3, **wanted)

    assert asked(precision=0.5) < asked(precision=0.9) < asked(precision=0.99)
    assert asked(recall=0.99) < asked(recall=0.9) < asked(recall=0.5)
    calls, others = rng.normal(5, 1, 20_000), rng.normal(2, 1, 40_000)
    said = np.array([(x >= asked(precision=0.9)).sum() for x in (calls, others)])
    assert said[0] / said.sum() == pytest.approx(0.9, abs=0.06)
    assert (calls >= asked(recall=0.8)).mean() == pytest.approx(0.8, abs=0.08)
    # More than can be had: as sure as it gets.
    never = asked_for(negative, positive, prior_spread=0.3, precision=0.999, recall=None)
    assert np.isfinite(never)


def test_negatives_are_scored_by_models_that_have_not_seen_them():
    seen = []

    def score(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        seen.append(set(train) & set(test))
        return test.astype(float)

    assert np.array_equal(cross_scored(20, score), np.arange(20.0))
    assert seen == [set(), set()]


def test_peaks_lie_apart():
    scores = np.array([0, 5, 4, 0, 3, 0, 4.5])
    assert scores[peaks(scores, np.arange(7.0), 2)].tolist() == [5, 4.5, 3]
    assert scores[peaks(scores, np.arange(7.0), 4)].tolist() == [5, 4.5]


def test_a_day_of_maxima_is_sorted_out_in_no_time_and_as_one_by_one():
    rng = np.random.default_rng(0)
    time, score = np.arange(400) / 43, rng.normal(size=400).round(1)
    apart = rng.uniform(0.05, 0.5, 400)
    local = [i for i in range(400) if score[i] >= 0 and score[i] >= score[max(i - 1, 0)]
             and (i == 399 or score[i] > score[i + 1])]  # fmt: skip
    taken: list[int] = []
    for i in sorted(local, key=lambda i: -score[i]):
        if all(abs(time[i] - time[j]) >= apart[i] for j in taken):
            taken.append(i)
    assert maxima(time, score, apart, 0.0).tolist() == sorted(taken)
    time, score = np.arange(86_400 * 4) / 4, rng.normal(size=86_400 * 4)
    start = process_time()
    assert len(maxima(time, score, 0.6, 0.0)) > 30_000
    assert len(peaks(score, time, 0.6)) > 30_000
    assert process_time() - start < 10


def test_curves():
    score = np.array([0, 0, 2, 5, 2, 0, 1.5, 1.5, 0])
    assert hysteresis(score, 3, 1).tolist() == [[2, 5]]
    assert hysteresis(score, 1, 1).tolist() == [[2, 5], [6, 8]]
    assert maxima(np.arange(9.0), score, 10.0, 0.0).tolist() == [3]
    assert maxima(np.arange(9.0), score, 1.0, 0.0).tolist() == [3, 7]
    assert maxima(np.arange(9.0), score, 1.0, 2.0).tolist() == [3]
    assert crossing(np.arange(9.0), score, 2, 1, 1.0) == pytest.approx(1.5)
    assert smoothed(np.array([0, 3, 0.0]), 3).tolist() == [1, 1, 1]


def test_events_are_joined_dropped_and_kept_apart():
    shape = EventShape(min_s=0.5, max_s=3.0, merge_s=0.2)
    events = np.array([[0, 1, 1], [1.1, 2, 3], [5, 5.1, 9], [7, 9, 1], [9.1, 11, 1.0]])
    assert joined(events, shape).tolist() == [[0, 2, 3, 1], [7, 9, 1, 3], [9.1, 11, 1, 4]]
    assert joined(np.zeros((0, 3)), shape).shape == (0, 4)


def test_no_event_is_longer_than_the_limit():
    shape = EventShape(min_s=0.1, max_s=2.0, merge_s=0.2)
    chain = np.array([[0, 1.5, 1], [1, 2.5, 2], [2.3, 4, 3], [4.1, 5.5, 1.0]])
    found = joined(chain, shape)
    assert found[:, :2].tolist() == [[0, 1.25], [1.25, 2.4], [2.4, 4], [4.1, 5.5]]
    assert found[:, 3].tolist() == [0, 1, 2, 3]
    score = np.array([3, 4, 3, 1, 3, 5, 3, 3, 2, 3.0])
    assert parted((0, 10), score, 10) == [(0, 10)]
    parts = parted((0, 10), score, 4)
    assert parts[0] == (0, 3)
    assert [a for a, _ in parts[1:]] == [b for _, b in parts[:-1]]
    assert all(1 <= b - a <= 4 for a, b in parts)


def test_template_correlation_equals_the_definition(night, tmp_path):
    sound = opened(night, tmp_path)
    x = (sound.features_TM.double().numpy() - sound.stats[0]) / sound.stats[1]
    template = x[100:117].astype(np.float32)
    score = correlated(sound, template, (0, 16))
    for middle in (108, 500, 900):
        part = x[middle - 8 : middle + 9]
        a, b = part - part.mean(), template - template.mean()
        expected = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
        assert score[middle] == pytest.approx(expected, abs=1e-4)
    assert score[108] == pytest.approx(1.0, abs=1e-4)
    assert score[0] == -1
