"""A whole scoring of 1,000 episodes against embedding their clips: each clip goes through once."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf

from archs.v1.arch import ProtoNetV1
from benchmarks import Claim
from g5.evaluation.episodes.scoring import embed_plan, evaluate_episodes
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan, plan_clips
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.normalize import Normalize
from preprocessing.store.store import Store

CLASSES, SOURCES, CALLS = 50, 10, 10  # 5,000 clips
EPISODES, N_WAY, K_SHOT, N_QUERY = 1000, 10, 5, 5
N_MELS, FRAME_RATE_HZ, CLIP_S = 128, 22050 / 256, 1.0
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
        model, normalize = make_model(), Normalize(mode="sample", n_mels=N_MELS)
        settings = {"batch_size": N_WAY * (K_SHOT + N_QUERY), "device": torch.device("cpu")}
        all_rows = torch.arange(len(events))
        alone = ClipPlan(all_rows, torch.full_like(all_rows, reader.n_frames), [])
        seconds: dict[str, list[float]] = {"test": [], "embed": []}
        for _ in range(REPEATS):
            start = time.perf_counter()
            z_PD = embed_plan(model, normalize, plan, reader, **settings)
            scores = evaluate_episodes(model, z_PD, plan, labels, temperature=2.0, open_set=True)
            assert scores.probabilities.nll > 0
            seconds["test"].append(time.perf_counter() - start)
            start = time.perf_counter()
            embed_plan(model, normalize, alone, reader, **settings)
            seconds["embed"].append(time.perf_counter() - start)
        note = f"{len(plan.rows):,} clips; v1, every metric"
        test, embed = (statistics.median(seconds[side]) for side in ("test", "embed"))
        yield Claim("1,000 test episodes / embedding 5,000 clips", test, embed, "s", 1.3, note=note)


def make_world(folder: Path) -> tuple[ClipReader, pd.DataFrame, list[str]]:
    """Noise of as many recordings as there are pairs of a class and a source."""
    rng = np.random.default_rng(0)
    store = Store.open(folder, {"benchmark": "evaluation"}, create=True)
    table = []
    with store.writer() as writer:
        for number in range(CLASSES * SOURCES):
            key = f"{number:064d}"
            frames = rng.standard_normal((int(CALLS * 2 * FRAME_RATE_HZ), N_MELS))
            frames[:, number // SOURCES % N_MELS] += 0.5
            features = torch.from_numpy(frames.astype(np.float16))
            writer.add(key, features, {"mean": 0.0, "std": 1.0})
            label = f"species{number // SOURCES:03d}"
            table += [(key, 2.0 * i, 2.0 * i + 1, label, key, key) for i in range(CALLS)]
    columns = ["file", "start_s", "end_s", "label", "source", "sha256"]
    events = pd.DataFrame(table, columns=columns)
    events["class_id"], labels = pd.factorize(events["label"], sort=True)
    reader = ClipReader(
        store, events, frame_rate_hz=FRAME_RATE_HZ, clip="fixed", clip_s=CLIP_S,
        min_clip_s=CLIP_S, max_clip_s=CLIP_S, anchor="centre",
    )  # fmt: skip
    return reader, events, list(labels)


def make_model() -> ProtoNetV1:
    """v1 at its defaults."""
    conf = Path(__file__).parent.parent / "conf" / "arch" / "v1.yaml"
    settings = OmegaConf.to_container(OmegaConf.load(conf).model)
    assert isinstance(settings, dict)
    return ProtoNetV1(**{str(k): v for k, v in settings.items() if k != "_target_"}).eval()
