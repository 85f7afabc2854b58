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
from g5.config.parts import front_end_of, normalize_of
from g5.config.settings import Settings, load
from g5.tracking.callbacks import TrainingMonitor
from g5.training.module import FewShotModule, make_optimizer
from g5.training.setup import quiet
from preprocessing.episodes.batches import EpisodeDataset, EpisodeIndexSampler
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.episode import EpisodeBatch
from preprocessing.episodes.sampling import EpisodeSampler

EPISODES = 12
ROUNDS = 3
FRAMES = 2000


def rows() -> Iterator[Claim]:
    """Seconds per episode of v1 and v2 at their default sizes; at most 1.10 of the bare step."""
    quiet()
    for arch in ("v1", "v2"):
        settings = load([f"arch={arch}"])
        loop, bare = [], []
        for _ in range(ROUNDS):
            loop.append(_loop_s(settings))
            bare.append(_bare_s(settings))
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


def _dataset(settings: Settings) -> EpisodeDataset:
    front_end = front_end_of(settings)
    events = pd.DataFrame(
        [(f"r{i}", float(s), s + 0.5, f"c{i % 20}", i % 20) for i in range(40) for s in range(20)],
        columns=["sha256", "start_s", "end_s", "label", "class_id"],
    )
    events["source"] = events["file"] = events["sha256"]
    features = settings.features
    reader = ClipReader(
        _Store(front_end.n_mels), events, frame_rate_hz=front_end.frame_rate_hz, anchor="centre",
        clip=features.clip, clip_s=features.clip_s, min_clip_s=features.min_clip_s,
        max_clip_s=features.max_clip_s,
    )  # fmt: skip
    size = settings.arch.episodes.size
    sampler = EpisodeSampler(events, seed=0, split="train", clips=reader, **size)
    return EpisodeDataset(sampler, reader, shift=0.0)


def module_of(settings: Settings, train_counts: Sequence[int] = ()) -> FewShotModule:
    torch.manual_seed(0)
    augmentation = settings.arch.augmentation
    return FewShotModule(
        model=build(settings.arch.model, expect=ProtoNet, where="arch.model"),
        normalize=normalize_of(settings),
        augmentation=augmentation
        and build(augmentation, expect=torch.nn.Module, where="arch.augmentation"),
        training=settings.arch.training,
        seed=0,
        train_counts=train_counts,
        val_classes=0,
        payload=dict,
        compile_model=False,
    )


def episode_of(settings: Settings) -> EpisodeBatch:
    """An episode of the default size."""
    return _dataset(settings)[0, 0]


class _Clock(pl.Callback):
    """Wall time from the end of the first episode, which warms up, to the end of the last."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: object, **kwargs: object) -> None:
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def _loop_s(settings: Settings) -> float:
    clock = _Clock()
    sampler = EpisodeIndexSampler(EPISODES, rank=0, world_size=1)
    loader = DataLoader(_dataset(settings), batch_size=None, sampler=sampler)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu", devices=1, max_epochs=1, logger=CSVLogger(folder),
            enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
            gradient_clip_val=settings.arch.training.gradient_clip_val or None,
            log_every_n_steps=settings.trainer.log_every_n_steps,
            callbacks=[TrainingMonitor(), clock], default_root_dir=Path(folder),
        )  # fmt: skip
        trainer.fit(module_of(settings), loader)
    return clock.seconds


def _bare_s(settings: Settings) -> float:
    module = module_of(settings).train()
    optimizer = make_optimizer(module.model, settings.arch.training)
    batches: list[EpisodeBatch] = [_dataset(settings)[0, index] for index in range(EPISODES)]
    clip = settings.arch.training.gradient_clip_val
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
