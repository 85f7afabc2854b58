"""The vectors of a store as one array that stays on the disk, from memory-mapped pieces.

Shapes: N rows, n of them in a block, D their width.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


class Vectors:
    """All vectors of a store as one array (N, D) that stays on the disk.

    ``vectors[rows]`` (a slice, or an array of numbers or booleans) copies those rows,
    ``blocks()`` walks over memory-mapped pieces, and ``np.asarray(vectors)`` loads everything.
    """

    def __init__(self, blocks: Sequence[np.ndarray], width: int) -> None:
        self._blocks = list(blocks)
        lengths = [len(block) for block in self._blocks]
        self._starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.shape = (int(self._starts[-1]), width)
        self.dtype = np.dtype(np.float16)

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Number of the first row and rows (n, D) fp16, in order; nothing is copied."""
        for start, block in zip(self._starts, self._blocks, strict=False):
            yield int(start), block

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        number_N = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        if number_N.dtype == bool:
            number_N = np.flatnonzero(number_N)
        number_N = number_N.astype(np.int64, copy=False)
        if len(number_N) and not -len(self) <= number_N.min() <= number_N.max() < len(self):
            raise IndexError(f"row {number_N.max()} of {len(self)}")
        number_N = np.where(number_N < 0, number_N + len(self), number_N)
        out = np.empty((len(number_N), self.shape[1]), self.dtype)
        block_N = np.searchsorted(self._starts, number_N, side="right") - 1
        for block in np.unique(block_N):
            here = block_N == block
            out[here] = self._blocks[block][number_N[here] - self._starts[block]]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if not self._blocks:
            return np.empty(self.shape, dtype or self.dtype)
        whole = np.concatenate(self._blocks) if len(self._blocks) > 1 else self._blocks[0]
        return whole if dtype is None else whole.astype(dtype)
