"""The clips of many episodes, each read once: plans for validation and tests.

Shape suffixes: B clips of a batch, M mel bands, T frames, P clips of a plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.episode import Episode


@dataclass(frozen=True, eq=False)
class ClipPlan:
    """The clips of many episodes, each once.

    Attributes:
        rows: ``(P,)`` int64 rows of the split's table.
        n_frames: ``(P,)`` int64, ascending: frames of each clip.
        episodes: the episodes, with positions ``0..P-1`` for support and query.
    """

    rows: Tensor
    n_frames: Tensor
    episodes: list[Episode]


def plan_clips(episodes: Sequence[Episode]) -> ClipPlan:
    """Find the different clips of ``episodes``: a row in two lengths is two clips."""
    if not episodes:
        return ClipPlan(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), [])
    rows = [torch.cat([e.support.flatten(), e.query.flatten()]).numpy() for e in episodes]
    span = max(int(r.max()) for r in rows) + 1
    wanted = np.concatenate([r + e.n_frames * span for r, e in zip(rows, episodes, strict=True)])
    clips, position = np.unique(wanted, return_inverse=True)
    parts = torch.from_numpy(position).split([len(r) for r in rows])
    planned = [
        replace(
            episode,
            support=part[: episode.support.numel()].reshape(episode.support.shape),
            query=part[episode.support.numel() :].reshape(episode.query.shape),
        )
        for episode, part in zip(episodes, parts, strict=True)
    ]
    return ClipPlan(torch.from_numpy(clips % span), torch.from_numpy(clips // span), planned)


class ClipBatches(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A plan's clips in batches of one length and at most ``batch_size``.

    A batch is positions ``(B,)`` int64 in the plan, clips ``(B, 1, M, T)`` fp32, and the
    recordings' statistics ``(B, 2)`` fp32.
    """

    def __init__(self, plan: ClipPlan, reader: ClipReader, batch_size: int) -> None:
        self.plan = plan
        self.reader = reader
        self.batch_size = batch_size
        self.batches = [
            (positions, n_frames)
            for n_frames in plan.n_frames.unique().tolist()
            for positions in (plan.n_frames == n_frames).nonzero().flatten().split(batch_size)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        positions, n_frames = self.batches[index]
        x_B1MT, stats_B2 = self.reader.gather(self.plan.rows[positions], n_frames)
        return positions, x_B1MT, stats_B2


def clip_batches(
    plan: ClipPlan, reader: ClipReader, batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Read a plan's clips, one batch of `ClipBatches` after the other."""
    batches = ClipBatches(plan, reader, batch_size)
    for index in range(len(batches)):
        yield batches[index]
