"""A whole scoring of 1,000 episodes against embedding their clips: each clip goes through once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import Claim, alternate
from benchmarks.inputs import FRAME_RATE_HZ, N_MELS, clips_of, filled_store, key_of, untrained
from g5.evaluation.episodes.scoring import embed_plan, evaluate_episodes
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan, plan_clips
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.normalize import Normalize

CLASSES, SOURCES, CALLS = 50, 10, 10  # 5,000 clips
EPISODES, N_WAY, K_SHOT, N_QUERY = 1000, 10, 5, 5
REPEATS = 3


def rows() -> Iterator[Claim]:
    """Embedding, classification and every metric against the embedding of the clips alone."""
    with tempfile.TemporaryDirectory() as folder:
        reader, events, labels = make_world(Path(folder))
        sampler = EpisodeSampler(
            events, n_way=N_WAY, k_shot=K_SHOT, n_query=N_QUERY, seed=0, split="test",
            cross_source=True, clips=reader,
        )  # fmt: skip
        plan = plan_clips(sampler.episodes(0, EPISODES))
        model, normalize = untrained("v1"), Normalize(mode="sample", n_mels=N_MELS)
        settings = {"batch_size": N_WAY * (K_SHOT + N_QUERY), "device": torch.device("cpu")}
        all_rows = torch.arange(len(events))
        alone = ClipPlan(all_rows, torch.full_like(all_rows, reader.n_frames), [])

        def test() -> None:
            z_PD = embed_plan(model, normalize, plan, reader, **settings)
            scores = evaluate_episodes(model, z_PD, plan, labels, temperature=2.0, open_set=True)
            assert scores.probabilities.nll > 0

        def embed() -> None:
            embed_plan(model, normalize, alone, reader, **settings)

        seconds = alternate({"test": test, "embed": embed}, REPEATS)
        note = f"{len(plan.rows):,} clips; v1, every metric"
        yield Claim(
            "1,000 test episodes / embedding 5,000 clips", seconds["test"], seconds["embed"], "s",
            1.3, note=note,
        )  # fmt: skip


def make_world(folder: Path) -> tuple[ClipReader, pd.DataFrame, list[str]]:
    """Noise of as many recordings as there are pairs of a class and a source."""
    rng = np.random.default_rng(0)
    features, table = [], []
    for number in range(CLASSES * SOURCES):
        key = key_of(number)
        frames = rng.standard_normal((int(CALLS * 2 * FRAME_RATE_HZ), N_MELS))
        frames[:, number // SOURCES % N_MELS] += 0.5
        features.append(torch.from_numpy(frames.astype(np.float16)))
        label = f"species{number // SOURCES:03d}"
        table += [(key, 2.0 * i, 2.0 * i + 1, label, key, key) for i in range(CALLS)]
    columns = ["file", "start_s", "end_s", "label", "source", "sha256"]
    events = pd.DataFrame(table, columns=columns)
    events["class_id"], labels = pd.factorize(events["label"], sort=True)
    return clips_of(filled_store(folder, features), events), events, list(labels)
