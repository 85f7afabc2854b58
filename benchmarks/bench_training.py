"""The real training loop per episode, against bare forward + backward + step on ready tensors."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader

from archs.protonet import ProtoNet
from benchmarks import Claim
from g5.config.build import build
from g5.config.compose import composed, resolve
from g5.config.node import Node
from g5.tracking.callbacks import TrainingMonitor
from g5.training.module import FewShotModule, make_optimizer
from g5.training.setup import quiet
from preprocessing.episodes.batches import EpisodeDataset, EpisodeIndexSampler
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.episode import EpisodeBatch
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.normalize import Normalize

EPISODES = 12
ROUNDS = 3
FRAMES = 2000


def rows() -> Iterator[Claim]:
    """Seconds per episode of v1 and v2 at their default sizes; at most 1.10 of the bare step."""
    quiet()
    for arch in ("v1", "v2"):
        config = resolve(composed([f"arch={arch}"]))
        loop, bare = [], []
        for _ in range(ROUNDS):
            loop.append(_loop_s(config))
            bare.append(_bare_s(config))
        yield Claim(
            f"training step, {arch}", statistics.median(loop), statistics.median(bare),
            "s/episode", 1.10, note="Lightning loop, logging, gathering / pre-gathered tensors",
        )  # fmt: skip


class _Store:
    """Features of twenty classes' recordings in memory, as the store would hand them out."""

    def __init__(self, n_mels: int) -> None:
        rng = np.random.default_rng(0)
        self.arrays = {
            f"r{i}": torch.from_numpy(rng.normal(-50, 10, (FRAMES, n_mels)).astype(np.float16))
            for i in range(40)
        }
        self.meta = pd.DataFrame({"key": list(self.arrays), "mean": -50.0, "std": 10.0})

    def get(self, key: str) -> Tensor:
        return self.arrays[key]


def _dataset(config: dict) -> EpisodeDataset:
    features, episodes = config["features"], config["arch"]["episodes"]
    frame_rate_hz = features["sr"] / features["hop_mel"]
    events = pd.DataFrame(
        [(f"r{i}", float(s), s + 0.5, f"c{i % 20}", i % 20) for i in range(40) for s in range(20)],
        columns=["sha256", "start_s", "end_s", "label", "class_id"],
    )
    events["source"] = events["file"] = events["sha256"]
    clip = {key: features[key] for key in ("clip", "clip_s", "min_clip_s", "max_clip_s")}
    store = _Store(features["n_mels"])
    reader = ClipReader(store, events, frame_rate_hz=frame_rate_hz, anchor="centre", **clip)
    size = {key: episodes[key] for key in ("n_way", "k_shot", "n_query", "cross_source")}
    sampler = EpisodeSampler(events, seed=0, split="train", clips=reader, **size)
    return EpisodeDataset(sampler, reader, shift=0.0, negatives=False)


def module_of(config: dict, train_counts: Sequence[int] = ()) -> FewShotModule:
    torch.manual_seed(0)
    augmentation = config["arch"]["augmentation"]
    return FewShotModule(
        model=build(Node.of(config["arch"]["model"]), expect=ProtoNet, where="arch.model"),
        normalize=Normalize(
            mode=config["features"]["normalize"], n_mels=config["features"]["n_mels"]
        ),
        augmentation=augmentation
        and build(Node.of(augmentation), expect=torch.nn.Module, where="arch.augmentation"),
        training=config["arch"]["training"],
        seed=0,
        train_counts=train_counts,
        val_classes=0,
        payload=dict,
        compile_model=False,
    )


def episode_of(config: dict) -> EpisodeBatch:
    """An episode of the default size."""
    return _dataset(config)[0, 0]


class _Clock(pl.Callback):
    """Wall time from the end of the first episode, which warms up, to the end of the last."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: object, **kwargs: object) -> None:
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def _loop_s(config: dict) -> float:
    clock = _Clock()
    sampler = EpisodeIndexSampler(EPISODES, rank=0, world_size=1)
    loader = DataLoader(_dataset(config), batch_size=None, sampler=sampler)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu", devices=1, max_epochs=1, logger=CSVLogger(folder),
            enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
            gradient_clip_val=config["arch"]["training"]["gradient_clip_val"] or None,
            log_every_n_steps=config["trainer"]["log_every_n_steps"],
            callbacks=[TrainingMonitor(), clock], default_root_dir=Path(folder),
        )  # fmt: skip
        trainer.fit(module_of(config), loader)
    return clock.seconds


def _bare_s(config: dict) -> float:
    module = module_of(config).train()
    optimizer = make_optimizer(module.model, config["arch"]["training"])
    batches: list[EpisodeBatch] = [_dataset(config)[0, index] for index in range(EPISODES)]
    clip = config["arch"]["training"]["gradient_clip_val"]
    start = 0.0
    for index, batch in enumerate(batches):
        optimizer.zero_grad()
        loss, _ = module.episode_loss(batch)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        if index == 0:
            start = time.perf_counter()
    return (time.perf_counter() - start) / (EPISODES - 1)
