"""From embeddings to events: prototypes, thresholds, curves, fine-tuning."""

from time import process_time

import numpy as np
import pytest
import torch

from g5.detection.embedding.embedder import WindowEmbedder
from g5.detection.embedding.sound import Sound
from g5.detection.events.curve import (
    EventShape,
    crossing,
    hysteresis,
    joined,
    maxima,
    parted,
    smoothed,
)
from g5.detection.events.threshold import calibrate
from g5.detection.scoring.finetune import finetuned
from g5.detection.scoring.prototypes import clusters, refined
from g5.detection.scoring.scorer import cross_scored, peaks
from g5.detection.scoring.template_scorer import correlated
from g5.training.fit import StepBudget
from tests.detection.soundscapes import CALLS_S, OTHERS_S, embedder, opened


def test_clusters_find_far_apart_groups_and_repeat_themselves():
    torch.manual_seed(0)
    x = torch.cat([torch.randn(20, 3) + 20 * i for i in range(3)])
    centres = clusters(x, 3)
    assert len(centres) == 3
    assert torch.equal(centres, clusters(x, 3))
    assert sorted(centres.mean(1).round().div(20).round().tolist()) == [0, 1, 2]
    assert len(clusters(x[:2], 5)) == 2


def test_refinement_moves_towards_what_resembles_and_no_further():
    positive, negative = torch.zeros(2), torch.full((1, 2), 10.0)
    x = torch.cat([torch.full((5, 2), 1.0), torch.full((50, 2), 10.0)])
    moved = refined(positive, negative, x, steps=3, temperature=0.1, weight=0.5)
    torch.testing.assert_close(moved, torch.tensor([0.5, 0.5]))


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


def tune(one: WindowEmbedder, sound: Sound, **changes) -> WindowEmbedder:
    def windows(starts: list[float]) -> torch.Tensor:
        first_N = np.array([round(s * sound.frame_rate_hz) for s in starts])
        return one.windows([(sound, first_N)], 19, None)

    settings = {"steps": StepBudget(20, 60.0), "rate": 1e-2, "seed": 0, **changes}
    cluster = torch.tensor([0] * 4 + [1] * 3)
    return finetuned(one, windows(CALLS_S[:5]), windows([*OTHERS_S[:4], 4, 10, 14]), cluster,
                     **settings)  # fmt: skip


@pytest.mark.parametrize("arch", ["v1", "v2"])
def test_finetuning_trains_the_last_block_alone_and_repeats_itself(arch, night, tmp_path):
    sound, one = opened(night, tmp_path), embedder(arch, tmp_path)
    before = {name: value.clone() for name, value in one.model.state_dict().items()}
    tuned = tune(one, sound)
    after = tuned.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    first = "blocks.0." if arch == "v1" else "blocks.0.residual.0."
    assert moved
    assert not any(name.startswith(f"encoder.{first}") for name in moved)
    assert not any("running" in name or "num_batches" in name for name in moved)
    assert all(torch.equal(value, one.model.state_dict()[name]) for name, value in before.items())
    assert tuned.identity != one.identity
    # Whatever the threads, and another seed is another encoder.
    torch.set_num_threads(2)
    again = tune(one, sound).identity
    torch.set_num_threads(1)
    assert again == tuned.identity
    assert tune(one, sound, seed=1).identity != tuned.identity
    assert tune(one, sound, steps=StepBudget(20, 0.0)).identity == one.identity


def test_finetuning_takes_the_augmentations_of_training(night, tmp_path, monkeypatch):
    seen = []

    class Spied(torch.nn.Module):
        def forward(self, x_B1MT, label_B):
            seen.append((self.training, sorted(label_B.bincount().tolist())))
            return x_B1MT

    one = embedder("v1", tmp_path)
    one.restored.config["arch"]["augmentation"] = {"_target_": "spied"}
    monkeypatch.setattr("g5.detection.scoring.finetune.build", lambda *_, **__: Spied())
    tune(one, opened(night, tmp_path), steps=StepBudget(2, 60.0))
    assert seen == [(True, [5] * 6)] * 2


def test_finetuning_brings_the_calls_nearer_than_the_rest(night, tmp_path):
    sound, one = opened(night, tmp_path), embedder("v2", tmp_path)
    starts = np.array([round(s * sound.frame_rate_hz) for s in [*CALLS_S, *OTHERS_S]])
    tuned = tune(one, sound, steps=StepBudget(60, 60.0))

    def apart(one: WindowEmbedder) -> float:
        (z_ND,) = one.cut([(sound, starts)], 19, None)
        distance_N = (z_ND - z_ND[:5].mean(dim=0)).norm(dim=1)
        return float(distance_N[10:].min() / distance_N[5:10].max())

    assert apart(tuned) > apart(one)
