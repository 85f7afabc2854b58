"""Exact nearest neighbours among memory-mapped vectors, block by block, and what is far from all.

Shapes: N vectors, D their width, Q queries, K neighbours, B rows of a block, R known vectors.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from g5.common import sealed
from g5.common.device import torch_threads
from g5.common.errors import UserError, needs
from g5.embeddings.blocks import Vectors

Metric = Literal["cosine", "dot", "euclidean"]
METRICS = ("cosine", "dot", "euclidean")
# Rows that are converted to fp32 at once: 256 x 1024 x 4 bytes stay in a core's second cache.
# The product then reads what the conversion has just written, and the disk's fp16 is read once.
BLOCK_BYTES = 1024 * 1024
# Scores are kept for so many rows before the best of them are taken.
SPAN_ROWS = 1 << 16
SMALLEST_NORM = 1e-12


def search(
    vectors: Vectors | np.ndarray,
    query_QD: np.ndarray,
    *,
    k: int,
    metric: Metric,
    threads: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` nearest of all vectors to each query, by comparing with every one of them.

    Products are of the stored fp16 values in fp32: nothing is rounded on the way.

    Args:
        vectors: (N, D).
        query_QD: (Q, D), finite.
        k: neighbours; fewer come back where there are fewer vectors.
        metric: ``cosine`` and ``dot``: the score is the similarity; ``euclidean``: the distance.
        threads: 0: as many as torch has.

    Returns:
        score_QK and row_QK, the nearest first; of equal scores the lower row first.

    Raises:
        UserError: another width, a query that is not finite, an unknown metric, ``k`` below 1.
    """
    query_QD = _checked(query_QD, vectors.shape[1], "the query")
    if metric not in METRICS:
        raise UserError(f"metric={metric} is none of {', '.join(METRICS)}")
    if k < 1:
        raise UserError(f"k={k}: must be at least 1")
    query = torch.from_numpy(query_QD)
    if metric == "cosine":
        query = query / query.norm(dim=1, keepdim=True).clamp(min=SMALLEST_NORM)
    spans = list(_spans(vectors))
    workers = threads or torch.get_num_threads()
    if workers > 1 and len(spans) > 1:
        # One thread of its own for each worker: blocks are too small to share out.
        with torch_threads(1), ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(lambda span: _best(span, query, k, metric), spans))
    else:
        found = [_best(span, query, k, metric) for span in spans]
    return _merged(found, len(query_QD), k, metric)


def _best(
    span: tuple[int, np.ndarray], query: Tensor, k: int, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """The best ``k`` of one span, (Q, <= k): key (higher is nearer) and row."""
    first, block = span
    with torch.inference_mode():
        key_NQ = _keys(block, query, metric)
        best_KQ, row_KQ = key_NQ.topk(min(k, len(block)), dim=0)
        return best_KQ.T.numpy(), row_KQ.T.numpy() + first


def _keys(block: np.ndarray, query: Tensor, metric: Metric) -> Tensor:
    """Higher is nearer: cosine, product, or minus the squared distance; (n, Q) fp32."""
    half = torch.from_numpy(block) if block.flags.writeable else _read_only(block)
    rows = max(1, BLOCK_BYTES // (4 * block.shape[1]))
    buffer = torch.empty(min(rows, len(block)), block.shape[1])
    key_NQ = torch.empty(len(block), len(query))
    square_Q = query.square().sum(dim=1)
    for start in range(0, len(block), rows):
        x_BD = buffer[: min(rows, len(block) - start)]
        x_BD.copy_(half[start : start + len(x_BD)])
        # `linear` is several times faster than `mm` for a handful of queries.
        key = torch.nn.functional.linear(x_BD, query)
        if metric == "cosine":
            key /= torch.linalg.vector_norm(x_BD, dim=1, keepdim=True).clamp_(min=SMALLEST_NORM)
        elif metric == "euclidean":
            norm_B1 = torch.linalg.vector_norm(x_BD, dim=1, keepdim=True)
            key.mul_(2).sub_(norm_B1.square_()).sub_(square_Q)
        key_NQ[start : start + len(x_BD)] = key
    return key_NQ


def _read_only(block: np.ndarray) -> Tensor:
    import warnings

    with warnings.catch_warnings():
        # Nothing here writes to it.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(block)


def _merged(
    found: list[tuple[np.ndarray, np.ndarray]], n_queries: int, k: int, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    if not found:
        return np.zeros((n_queries, 0), np.float32), np.zeros((n_queries, 0), np.int64)
    key_QK = np.concatenate([key for key, _ in found], axis=1)
    row_QK = np.concatenate([row for _, row in found], axis=1)
    order_QK = np.stack([np.lexsort((r, -s)) for s, r in zip(key_QK, row_QK, strict=True)])[:, :k]
    score_QK = np.take_along_axis(key_QK, order_QK, axis=1)
    if metric == "euclidean":
        score_QK = np.sqrt(np.maximum(-score_QK, 0))
    return score_QK, np.take_along_axis(row_QK, order_QK, axis=1)


def _spans(vectors: Vectors | np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    pieces = [(0, vectors)] if isinstance(vectors, np.ndarray) else vectors.blocks()
    for first, block in pieces:
        for start in range(0, len(block), SPAN_ROWS):
            yield first + start, block[start : start + SPAN_ROWS]


def _checked(query_QD: np.ndarray, width: int, what: str) -> np.ndarray:
    query_QD = np.atleast_2d(np.asarray(query_QD, np.float32))
    if query_QD.ndim != 2 or query_QD.shape[1] != width:
        raise UserError(
            f"{what} has {query_QD.shape[-1]} dimensions, where the store's vectors have {width}; "
            "embed it with the store's own encoder"
        )
    if not np.isfinite(query_QD).all():
        raise UserError(f"{what} has NaN or infinite values; check the recording it was made of")
    return np.ascontiguousarray(query_QD)


def novelty(
    vectors: Vectors | np.ndarray,
    known_RD: np.ndarray,
    *,
    k: int,
    skip_self: bool = False,
) -> np.ndarray:
    """How far each vector is from what is known: the cosine distance to its k-th nearest, (N,).

    Nearest-neighbour novelty as in Sun et al., ICML 2022.

    Args:
        vectors: (N, D).
        known_RD: (R, D).
        k: which neighbour among the known; at most R.
        skip_self: the known are among the vectors, and a vector is no neighbour of itself.

    Raises:
        UserError: nothing is known, or another width.
    """
    known_RD = _checked(known_RD, vectors.shape[1], "what is known")
    if not len(known_RD):
        raise UserError("nothing is known to be far from; give labels")
    rank = min(k + int(skip_self), len(known_RD))
    known = torch.from_numpy(known_RD)
    known = known / known.norm(dim=1, keepdim=True).clamp(min=SMALLEST_NORM)
    distance_N = np.empty(len(vectors), np.float32)
    # The matrix of similarities is kept at some 64 MB.
    step = max(1, 16_000_000 // len(known))
    with torch.inference_mode():
        for first, block in _spans(vectors):
            for start in range(0, len(block), step):
                key_NR = _keys(block[start : start + step], known, "cosine")
                nearest = key_NR.topk(rank, dim=1).values[:, -1]
                at = first + start
                distance_N[at : at + len(nearest)] = (1 - nearest).numpy()
    return distance_N


class ApproximateIndex:
    """An approximate index (HNSW, Malkov & Yashunin 2018) by usearch, built once beside a store.

    For tens of millions of vectors or thousands of queries; up to a million the exact search is
    fast enough and never misses.

    Args:
        width: of the vectors.
        metric: as for `search`.
    """

    def __init__(self, *, width: int, metric: Metric) -> None:
        names = {"cosine": "cos", "dot": "ip", "euclidean": "l2sq"}
        self.width, self.metric = width, metric
        self._index = _usearch().Index(ndim=width, metric=names[metric], dtype="f16")

    def __len__(self) -> int:
        return len(self._index)

    def add(self, vectors: Vectors | np.ndarray) -> None:
        """Add what is new: the rows from ``len(self)`` on."""
        from g5.common.progress import track

        spans = [
            (max(first, len(self)), block[max(0, len(self) - first) :])
            for first, block in _spans(vectors)
            if first + len(block) > len(self)
        ]
        for first, block in track(spans, total=len(spans), label="index", unit="blocks"):
            keys = np.arange(first, first + len(block))
            self._index.add(keys, np.array(block), threads=torch.get_num_threads())

    def search(self, query_QD: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `search`, but a few of the nearest may be missing."""
        query_QD = _checked(query_QD, self.width, "the query")
        k = min(k, len(self))
        found = self._index.search(query_QD, k)
        shape = (len(query_QD), k)
        away_QK = np.asarray(found.distances, np.float32).reshape(shape)
        row_QK = np.asarray(found.keys).astype(np.int64).reshape(shape)
        if self.metric == "euclidean":
            return np.sqrt(np.maximum(away_QK, 0)), row_QK
        return 1 - away_QK, row_QK

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index with a checksum over every byte, whole or not at all."""
        from g5.common.atomic import atomic_path

        with atomic_path(path) as temporary:
            self._index.save(str(temporary))
            sealed.seal(temporary)

    def load(self, path: str | os.PathLike[str]) -> bool:
        """Read an index that `save` wrote; False, and nothing is read, where it is not whole.

        usearch itself would read a damaged one as another, or crash.

        Raises:
            UserError: it is of another width.
        """
        if not sealed.is_whole(path):
            return False
        self._index.load(str(path))
        if self._index.ndim != self.width:
            raise UserError(f"{path}: is an index of another width; remove it")
        return True


def _usearch():
    with needs("the approximate index needs usearch (the exact search needs nothing)", "index"):
        from usearch import index
    return index
