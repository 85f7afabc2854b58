"""What an episode is: which calls are support and which are query, and the clips of them.

Shape suffixes: N ways, K shots, Q queries, B = N * K + N * Q clips, M mel bands, T frames.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item", "Episode", "EpisodeBatch")


@dataclass(frozen=True, eq=False)
class Episode:
    """Which calls an episode is made of.

    Attributes:
        class_ids: ``(N,)`` int64.
        support: ``(N, K)`` int64 rows of the split's table (or positions in a `ClipPlan`).
        query: ``(N, Q)`` int64, likewise; no call is in both.
        n_frames: frames of its clips; 0 where nothing is to be gathered.
        epoch: which epoch it was drawn for.
        index: which episode of the epoch it is.
    """

    class_ids: Tensor
    support: Tensor
    query: Tensor
    n_frames: int
    epoch: int
    index: int

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Episode":
        """The same episode with its tensors on ``device``."""
        return _moved(self, device, non_blocking)


@dataclass(frozen=True, eq=False)
class EpisodeBatch:
    """An episode's clips: one batch of training.

    Attributes:
        x: ``(B, 1, M, T)`` fp32, all support clips and then all query clips, class by class.
        stats: ``(B, 2)`` fp32, mean and standard deviation of each clip's recording.
        class_ids: ``(N,)`` int64; -1 is background.
        n_way, k_shot, n_query: N, K and Q.
        epoch, index: which episode it is.
    """

    x: Tensor
    stats: Tensor
    class_ids: Tensor
    n_way: int
    k_shot: int
    n_query: int
    epoch: int
    index: int

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "EpisodeBatch":
        """The same batch with its tensors on ``device``; Lightning calls this."""
        return _moved(self, device, non_blocking)

    def pin_memory(self) -> "EpisodeBatch":
        """The same batch in page-locked memory; a DataLoader calls this."""
        return replace(
            self,
            x=self.x.pin_memory(),
            stats=self.stats.pin_memory(),
            class_ids=self.class_ids.pin_memory(),
        )


def _moved(item: Item, device: torch.device | str, non_blocking: bool) -> Item:
    tensors = {name: value for name, value in vars(item).items() if isinstance(value, Tensor)}
    moved = {name: t.to(device, non_blocking=non_blocking) for name, t in tensors.items()}
    return replace(item, **moved)
