"""Batches of labelled calls, for training as a plain classification over all classes.

Like an episode, a batch is drawn from (seed, split, epoch, index) and from nothing else.

Shape suffixes: B clips, 1 channel, M mel bands, T frames, C classes.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from preprocessing.clips import ClipReader
from preprocessing.episodes import generator
from preprocessing.errors import UserError
from preprocessing.events import SPLITS

# The stream of a batch's random numbers, beside those of an episode (0) and its shifts (1).
CALLS = 2


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """Clips of single calls: one batch of classification.

    Attributes:
        x: ``(B, 1, M, T)`` fp32.
        stats: ``(B, 2)`` fp32, mean and standard deviation of each clip's recording.
        class_ids: ``(B,)`` int64.
        epoch, index: which batch it is.
    """

    x: Tensor
    stats: Tensor
    class_ids: Tensor
    epoch: int
    index: int

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "LabelledBatch":
        """The same batch with its tensors on ``device``; Lightning calls this."""
        return replace(
            self,
            x=self.x.to(device, non_blocking=non_blocking),
            stats=self.stats.to(device, non_blocking=non_blocking),
            class_ids=self.class_ids.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> "LabelledBatch":
        """The same batch in page-locked memory; a DataLoader calls this."""
        return replace(
            self,
            x=self.x.pin_memory(),
            stats=self.stats.pin_memory(),
            class_ids=self.class_ids.pin_memory(),
        )


class LabelledDataset(Dataset[LabelledBatch]):
    """``dataset[epoch, index]`` is a batch in which every class is as likely as any other.

    Classes are drawn without repetition as long as there are enough of them, and of each one
    call (or ``calls``): rare classes count as much as common ones.

    Args:
        events: a split's table with ``class_id``.
        clips: reads the clips; adaptive ones have the length that suits the batch.
        batch_size: B.
        seed: of all draws; 0 or more.
        split: ``"train"``, ``"val"`` or ``"test"``.
        shift: each clip's window is moved at random by up to this share of its length.
        calls: how many of a class come together; they are of one individual or of several.
        individuals: each class's recordings are classes of their own: in most collections a
            recording is one individual's.

    Attributes:
        classes: how many classes the batches have.
    """

    def __init__(
        self,
        events: pd.DataFrame,
        clips: ClipReader,
        *,
        batch_size: int,
        seed: int,
        split: str,
        shift: float,
        calls: int = 1,
        individuals: bool = False,
    ) -> None:
        if not 0 <= shift <= 1:
            raise UserError(f"arch.episodes.shift={shift}: must be between 0 and 1")
        self.clips, self.batch_size, self.seed, self.shift = clips, batch_size, seed, shift
        self._split_id = SPLITS.index(split)
        self.calls = calls
        class_E = events["class_id"].to_numpy()
        if individuals:
            class_E = events.groupby(["class_id", "source"]).ngroup().to_numpy()
        self._row = np.argsort(class_E, kind="stable")
        self._class_C, self._first_C, self._count_C = np.unique(
            class_E[self._row], return_index=True, return_counts=True
        )
        self.classes = len(self._class_C)

    def __getitem__(self, at: tuple[int, int]) -> LabelledBatch:
        epoch, index = at
        rng = generator(self.seed, self._split_id, epoch, index, stream=CALLS)
        groups = -(-self.batch_size // self.calls)
        rounds = -(-groups // self.classes)
        chosen = np.concatenate([rng.permutation(self.classes) for _ in range(rounds)])
        chosen = chosen[:groups].repeat(self.calls)[: self.batch_size]
        rows = self._row[self._first_C[chosen] + rng.integers(self._count_C[chosen])]
        n_frames = self.clips.episode_frames(rows)
        most = int(self.shift * n_frames)
        shifts = rng.integers(-most, most, len(rows), endpoint=True) if most else None
        x, stats = self.clips.gather(rows, n_frames, shifts)
        class_ids = torch.from_numpy(self._class_C[chosen].astype(np.int64))
        return LabelledBatch(x=x, stats=stats, class_ids=class_ids, epoch=epoch, index=index)
