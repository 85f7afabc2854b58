"""What an episode is: which calls are support and which are query, and the clips of them.

Shape suffixes: N ways, K shots, Q queries, B = N * K + N * Q clips, M mel bands, T frames.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor


class TensorGroup:
    """A dataclass whose tensors move together; Lightning and DataLoaders call its methods."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same with its tensors on ``device``."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The same in page-locked memory."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        own: Any = self
        tensors = {name: value for name, value in vars(own).items() if isinstance(value, Tensor)}
        return replace(own, **{name: change(value) for name, value in tensors.items()})


@dataclass(frozen=True, eq=False)
class Episode(TensorGroup):
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


@dataclass(frozen=True, eq=False)
class EpisodeBatch(TensorGroup):
    """An episode's clips: one batch of training.

    Attributes:
        x: ``(B, 1, M, T)`` fp32, all support clips and then all query clips, class by class.
        stats: ``(B, 2)`` fp32, mean and standard deviation of each clip's recording.
        class_ids: ``(N,)`` int64.
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
