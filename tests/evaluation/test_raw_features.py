"""Raw features: the numbers against a naive loop, the three rows, and what each can see."""

import numpy as np
import pandas as pd
import pytest
import torch

from g5.evaluation.episodes.raw_features import (
    NearestPrototype,
    RawStatistics,
    raw_feature_scores,
    raw_features,
    time_statistics,
    training_statistics,
    z_scored,
)
from g5.evaluation.episodes.scoring import evaluate_episodes
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan, plan_clips
from preprocessing.episodes.sampling import EpisodeSampler

RATE_HZ, N_MELS = 10, 6


class Recordings:
    """A store in memory: one recording per class and source."""

    def __init__(self, features):
        self.features = features
        rows = [
            (key, float(x.float().mean()), float(x.float().std())) for key, x in features.items()
        ]
        self.meta = pd.DataFrame(rows, columns=["key", "mean", "std"])

    def get(self, key):
        return self.features[key]


def make_split(spectra_CM, *, loudness_db, seed, calls=6, sources=3):
    """Recordings in dB of classes that have a spectrum, each call louder or softer by chance."""
    rng = np.random.default_rng(seed)
    features, rows = {}, []
    for class_id, spectrum_M in enumerate(spectra_CM):
        for source in range(sources):
            key = f"{class_id}-{source}"
            x_TM = rng.normal(size=(calls * 20, N_MELS)) + spectrum_M
            x_TM += np.repeat(rng.normal(size=calls) * loudness_db, 20)[:, None]
            features[key] = torch.from_numpy(x_TM.astype(np.float16))
            rows += [
                (key, 2.0 * call, 2.0 * call + 2.0, f"c{class_id}", key, key, class_id)
                for call in range(calls)
            ]
    columns = ["file", "start_s", "end_s", "label", "source", "sha256", "class_id"]
    events = pd.DataFrame(rows, columns=columns)
    reader = ClipReader(
        Recordings(features), events, frame_rate_hz=RATE_HZ, clip="fixed", clip_s=2.0,
        min_clip_s=1.0, max_clip_s=2.0, anchor="centre",
    )  # fmt: skip
    return events, reader


def make_plan(events, reader, episodes=40):
    sampler = EpisodeSampler(
        events, n_way=4, k_shot=3, n_query=3, seed=1, split="test", cross_source=True, clips=reader
    )
    return plan_clips(sampler.episodes(0, episodes))


def all_clips(events, reader):
    return ClipPlan(torch.arange(len(events)), torch.full((len(events),), reader.n_frames), [])


@pytest.fixture(scope="module")
def spectra():
    return np.random.default_rng(0).normal(size=(6, N_MELS)) * 5


def test_against_a_naive_loop(spectra):
    events, reader = make_split(spectra, loudness_db=5, seed=1)
    plan = all_clips(events, reader)
    raw_PF, sample_PF = raw_features(plan, reader, batch_size=7)
    for row in (0, 11, len(events) - 1):
        x_MT = reader.gather(np.array([row]), reader.n_frames)[0][0, 0].numpy().astype(np.float64)
        naive = [x_M.mean() for x_M in x_MT] + [
            np.sqrt(np.mean((x_M - x_M.mean()) ** 2)) for x_M in x_MT
        ]
        np.testing.assert_allclose(raw_PF[row], naive, atol=1e-4)
        mean, std = x_MT.mean(), x_MT.std()
        naive = [(x - mean) / std for x in naive[:N_MELS]] + [x / std for x in naive[N_MELS:]]
        np.testing.assert_allclose(sample_PF[row], naive, atol=1e-4)


def test_statistics_by_hand():
    x_B1MT = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]]]])
    assert time_statistics(x_B1MT).tolist() == [[2.0, 0.0, 1.0, 0.0]]


def test_z_scores_by_hand():
    train_PF = torch.tensor([[0.0, 5.0, 1.0], [2.0, 5.0, 3.0]])
    std_F, mean_F = torch.std_mean(train_PF.double(), dim=0, correction=0)
    # Means 1, 5, 2; deviations 1, none (only centred), 1: z = (3, 4, 0), of length 5.
    z_PF = z_scored(torch.tensor([[4.0, 9.0, 2.0]]), RawStatistics(mean_F, std_F))
    torch.testing.assert_close(z_PF, torch.tensor([[0.6, 0.8, 0.0]]))


def test_nearest_prototype_against_a_float64_loop(spectra):
    events, reader = make_split(spectra, loudness_db=8, seed=2)
    plan = make_plan(events, reader)
    features_PF, _ = raw_features(plan, reader, batch_size=64)
    scores = evaluate_episodes(NearestPrototype(), features_PF, plan, sorted(set(events["label"])))
    x_PF = features_PF.double().numpy()
    for episode, accuracy in zip(plan.episodes, scores.accuracy_E, strict=True):
        hits = []
        for way, query_Q in enumerate(episode.query.numpy()):
            for query in query_Q:
                distances = [
                    ((x_PF[query] - x_PF[support_K].mean(0)) ** 2).sum()
                    for support_K in episode.support.numpy()
                ]
                hits.append(int(np.argmin(distances)) == way)
        assert accuracy == pytest.approx(np.mean(hits))


def test_rows_and_what_normalisation_is_for(spectra):
    """Where calls differ wildly in loudness, what removes it must win by far."""
    events, reader = make_split(spectra, loudness_db=20, seed=3)
    _, train_reader = make_split(spectra[::-1] + 1, loudness_db=20, seed=4)
    labels = sorted(set(events["label"]))
    plan = make_plan(events, reader)
    rows = raw_feature_scores(
        plan, reader, labels,
        statistics=training_statistics(train_reader, batch_size=50), batch_size=50,
    )  # fmt: skip
    accuracy = {row.name: row.interval.mean for row in rows}
    assert list(accuracy) == ["unnormalised", "per-sample normalised", "z-scored + L2"]
    assert accuracy["per-sample normalised"] > accuracy["unnormalised"] + 0.3
    # Without a training split the last row, and only it, is left out.
    rest = raw_feature_scores(plan, reader, labels, statistics=None, batch_size=9)
    assert {row.name: row.interval.mean for row in rest} == {
        name: value for name, value in accuracy.items() if name != "z-scored + L2"
    }


def test_training_statistics_are_of_the_training_clips(spectra):
    """The z-scored row depends on the training clips, the others do not."""
    events, reader = make_split(spectra, loudness_db=5, seed=5)
    plan, labels = make_plan(events, reader), sorted(set(events["label"]))
    answers = []
    for factor in (1, 30):
        scale = np.array([factor] * 2 + [1] * (N_MELS - 2))
        _, train_reader = make_split(spectra * scale, loudness_db=5, seed=6)
        rows = raw_feature_scores(
            plan, reader, labels, statistics=training_statistics(train_reader, batch_size=50),
            batch_size=50,
        )  # fmt: skip
        answers.append([row.scores.probability_A for row in rows])
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    np.testing.assert_array_equal(answers[0][1], answers[1][1])
    assert not np.allclose(answers[0][2], answers[1][2])
