"""Batches of labelled calls, for training as a plain classification over all classes.

Like an episode, a batch is drawn from (seed, split, epoch, index) and from nothing else.

Shape suffixes: B clips, 1 channel, M mel bands, T frames, C classes, E calls of the table, R calls
of an epoch.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from g5.common.errors import UserError
from preprocessing.episodes.balance import Balance, balanced_rows
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.draws import generator
from preprocessing.episodes.episode import TensorGroup
from preprocessing.events import SPLITS

# The stream of a batch's random numbers, beside those of an episode (0) and its shifts (1).
CALLS = 2
POOL = 3  # of an epoch: the calls that its batches draw from


@dataclass(frozen=True, eq=False)
class LabelledBatch(TensorGroup):
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


class _Pool(NamedTuple):
    """Rows sorted by class; of each class its id, where it starts and how many there are."""

    row_R: np.ndarray
    first_C: np.ndarray
    count_C: np.ndarray


class LabelledDataset(Dataset[LabelledBatch]):
    """``dataset[epoch, index]`` is a batch of calls, classes as ``sampling`` says.

    ``"none"``: classes as often as they are. Otherwise classes are drawn without repetition as
    long as there are enough of them: rare classes count as much as common ones. ``"over"`` draws
    from all calls; ``"under"`` and ``"both"`` thin the common classes out to the size of the
    smallest or to the mean size, in every epoch anew (`balanced_rows`).

    Args:
        events: a split's table with ``class_id``.
        clips: reads the clips; adaptive ones have the length that suits the batch.
        batch_size: B.
        seed: of all draws; 0 or more.
        split: ``"train"``, ``"val"`` or ``"test"``.
        shift: each clip's window is moved at random by up to this share of its length.
        sampling: how classes are balanced.

    Attributes:
        counts: calls of each of the classes.
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
        sampling: Balance,
    ) -> None:
        if not 0 <= shift <= 1:
            raise UserError(f"arch.episodes.shift={shift}: must be between 0 and 1")
        self.clips, self.batch_size, self.seed, self.shift = clips, batch_size, seed, shift
        self._split_id = SPLITS.index(split)
        self._sampling = sampling
        self._class_E = events["class_id"].to_numpy()
        self.counts: list[int] = np.bincount(self._class_E).tolist()
        self._pool = lru_cache(maxsize=1)(self._pool_of)

    def _pool_of(self, epoch: int) -> _Pool:
        """The calls that an epoch draws from."""
        rows = np.arange(len(self._class_E))
        if self._sampling in ("under", "both"):
            seed = int(generator(self.seed, self._split_id, epoch, stream=POOL).integers(2**63))
            rows = balanced_rows(self._class_E, self._sampling, seed=seed)
        rows = rows[np.argsort(self._class_E[rows], kind="stable")]
        _, first_C, count_C = np.unique(self._class_E[rows], return_index=True, return_counts=True)
        return _Pool(rows, first_C, count_C)

    def _rows(self, rng: np.random.Generator, epoch: int) -> np.ndarray:
        """(B,) rows of the table."""
        pool = self._pool(epoch)
        classes, size = len(pool.count_C), self.batch_size
        if self._sampling == "none":
            chosen = rng.choice(classes, size=size, p=pool.count_C / pool.count_C.sum())
        else:
            rounds = -(-size // classes)
            chosen = np.concatenate([rng.permutation(classes) for _ in range(rounds)])[:size]
        return pool.row_R[pool.first_C[chosen] + rng.integers(pool.count_C[chosen])]

    def __getitem__(self, at: tuple[int, int]) -> LabelledBatch:
        epoch, index = at
        rng = generator(self.seed, self._split_id, epoch, index, stream=CALLS)
        rows = self._rows(rng, epoch)
        n_frames = self.clips.episode_frames(rows)
        most = int(self.shift * n_frames)
        shifts = rng.integers(-most, most, len(rows), endpoint=True) if most else None
        x, stats = self.clips.gather(rows, n_frames, shifts)
        class_ids = torch.from_numpy(self._class_E[rows].astype(np.int64))
        return LabelledBatch(x=x, stats=stats, class_ids=class_ids, epoch=epoch, index=index)
