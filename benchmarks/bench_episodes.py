"""Episode assembly against a plain loop over the same slices, easyfsl, and v1's training step."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from easyfsl.datasets import FewShotDataset
from easyfsl.samplers import TaskSampler
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks import Claim, alternate
from benchmarks.inputs import FRAME_RATE_HZ, N_MELS, clips_of, filled_store, key_of, untrained
from preprocessing.episodes.batches import EpisodeDataset, EpisodeIndexSampler
from preprocessing.episodes.sampling import EPISODES_PER_DRAW, EpisodeSampler
from preprocessing.store.store import Store

RECORDINGS, FRAMES = 400, 5168  # 60 s each, 529 MB in all
CLASSES, SOURCES, CALLS = 500, 4, 6
N_WAY, K_SHOT, N_QUERY = 10, 5, 5
REPEATS = 7

Slice = tuple[Tensor, int]


def rows() -> Iterator[Claim]:
    """Assembly of an episode, warm cache on all sides, against its three references."""
    with tempfile.TemporaryDirectory() as folder:
        store, events = make_store(Path(folder)), make_events()
        clips = clips_of(store, events)
        sampler = EpisodeSampler(
            events, n_way=N_WAY, k_shot=K_SHOT, n_query=N_QUERY, seed=0, split="train",
            cross_source=True, clips=clips,
        )  # fmt: skip
        dataset = EpisodeDataset(sampler, clips, shift=0.0)
        slices = call_slices(store, events, clips.n_frames)
        copied = [
            [slices[row] for row in (*e.support.flatten().tolist(), *e.query.flatten().tolist())]
            for e in sampler.episodes(1, EPISODES_PER_DRAW)
        ]
        assert torch.equal(dataset[1, 3].x, plain_loop(copied[3], clips.n_frames))

        loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=EpisodeIndexSampler(EPISODES_PER_DRAW, rank=0, world_size=1),
        )
        # Each side has episodes of its own, so that none finds its slices in the CPU's cache.
        ours, plain, loaded, easyfsl = episode_ms(
            lambda: (dataset[0, index] for index in range(EPISODES_PER_DRAW)),
            lambda: (plain_loop(episode, clips.n_frames) for episode in copied),
            lambda: loader,
            lambda: easyfsl_loader(slices, events, clips.n_frames),
        )
        size = f"{RECORDINGS * FRAMES * N_MELS * 2 / 1e6:.0f} MB store"
        yield Claim("episode / plain loop", ours, plain, "ms", 1.5, note=size)
        yield Claim("episode, DataLoader / easyfsl", loaded, easyfsl, "ms", 1.0, note=size)
        step = v1_step_ms(dataset[2, 0].x)
        yield Claim("episode / v1 training step", ours, step, "ms", 0.03)


def make_store(folder: Path) -> Store:
    """A store of noise, read once so that it is in the page cache."""
    noise = np.random.default_rng(0).standard_normal((FRAMES + RECORDINGS, N_MELS))
    noise = torch.from_numpy(noise.astype(np.float16))
    store = filled_store(folder, (noise[i : i + FRAMES] for i in range(RECORDINGS)))
    for i in range(RECORDINGS):
        store.get(key_of(i)).view(torch.int16).sum()
    return store


def make_events() -> pd.DataFrame:
    """Calls of 0.03 to 2 s, ``CALLS`` of each class in each of ``SOURCES`` recordings."""
    rng = np.random.default_rng(0)
    recording = np.concatenate(
        [rng.choice(RECORDINGS, SOURCES, replace=False).repeat(CALLS) for _ in range(CLASSES)]
    )
    start_s = rng.uniform(0, 58, len(recording))
    name = [key_of(i) for i in recording]
    class_id = np.arange(CLASSES).repeat(SOURCES * CALLS)
    events = pd.DataFrame({
        "file": name, "source": name, "sha256": name, "class_id": class_id, "start_s": start_s,
        "end_s": start_s + rng.uniform(0.03, 2, len(recording)),
        "label": [f"species{c:03d}" for c in class_id],
    })  # fmt: skip
    return events.sort_values(["file", "start_s", "end_s"], ignore_index=True)


def call_slices(store: Store, events: pd.DataFrame, n_frames: int) -> list[Slice]:
    """Every call's recording and first frame, worked out beforehand for the references."""
    middle_s = (events["start_s"] + events["end_s"]).to_numpy() / 2
    first = np.floor(middle_s * FRAME_RATE_HZ - (n_frames - 1) / 2 + 0.5).astype(int)
    features = [store.get(key) for key in events["sha256"]]
    first = np.clip(first, 0, FRAMES - n_frames).tolist()
    return list(zip(features, first, strict=True))


def plain_loop(slices: list[Slice], n_frames: int) -> Tensor:
    """The same clips in the same layout, one slice after another."""
    x_BTM = torch.empty(len(slices), n_frames, N_MELS)
    for i, (features, first) in enumerate(slices):
        x_BTM[i] = features[first : first + n_frames]
    return x_BTM.transpose(1, 2).unsqueeze(1)


class SliceDataset(FewShotDataset):
    """The same clips one by one, as easyfsl wants them."""

    def __init__(self, slices: list[Slice], labels: list[int], n_frames: int) -> None:
        self.slices, self.labels, self.n_frames = slices, labels, n_frames

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        features, first = self.slices[item]
        return features[first : first + self.n_frames].float().T[None], self.labels[item]

    def get_labels(self) -> list[int]:
        return self.labels


class _TakesDataSource:
    def __init__(self, data_source: None) -> None:
        """What `TaskSampler` calls, and PyTorch's `Sampler` no longer has."""


class Tasks(TaskSampler, _TakesDataSource):
    """easyfsl's sampler, made to start under this PyTorch."""


def easyfsl_loader(slices: list[Slice], events: pd.DataFrame, n_frames: int) -> DataLoader:
    """As many episodes from easyfsl's sampler and a DataLoader."""
    dataset = SliceDataset(slices, events["class_id"].tolist(), n_frames)
    sampler = Tasks(dataset, N_WAY, K_SHOT, N_QUERY, EPISODES_PER_DRAW)
    return DataLoader(
        dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn, num_workers=0
    )


def episode_ms(*sides: Callable[[], Iterable[object]]) -> list[float]:
    """Median milliseconds per episode of each side; the sides take turns at every episode.

    A time is of `EPISODES_PER_DRAW` episodes, because g5 draws as many at once.
    """
    times = np.zeros((REPEATS + 1, len(sides)))
    for repeat in times:
        episodes = [iter(side()) for side in sides]
        for _ in range(EPISODES_PER_DRAW):
            for i, side in enumerate(episodes):
                start = time.perf_counter()
                next(side)
                repeat[i] += time.perf_counter() - start
    return (1e3 * np.median(times[1:], axis=0) / EPISODES_PER_DRAW).tolist()


def v1_step_ms(x_B1MT: Tensor) -> float:
    """Forward, backward and optimiser step of v1 at its defaults on one episode."""
    model = untrained("v1").train()
    optimizer = torch.optim.Adam(model.parameters())
    target_Q = torch.arange(N_WAY).repeat_interleave(N_QUERY)

    def step() -> None:
        z_BD = model(x_B1MT)
        support_NKD = z_BD[: N_WAY * K_SHOT].unflatten(0, (N_WAY, K_SHOT))
        loss = F.cross_entropy(model.logits(support_NKD, z_BD[N_WAY * K_SHOT :]), target_Q)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return 1e3 * alternate({"step": step}, 3)["step"]
