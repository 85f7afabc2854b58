"""Exact search over a million vectors in memory, by the clock."""

import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks import Row
from transfer.search import search

N, D, QUERIES, ROUNDS = 1_000_000, 1024, 5, 5


def rows() -> Iterator[Row]:
    """1,000,000 x 1024 fp16, 5 queries, two threads, 20 neighbours, against half a second."""
    x = torch.empty(N, D, dtype=torch.float16)
    for start in range(0, N, 50_000):
        x[start : start + 50_000] = torch.randn(50_000, D).half()
    query = np.random.default_rng(0).standard_normal((QUERIES, D)).astype(np.float32)
    for metric in ("cosine", "dot", "euclidean"):
        times, cores = [], []
        for _ in range(ROUNDS):
            wall, core = time.perf_counter(), time.process_time()
            search(x.numpy(), query, k=20, metric=metric, threads=2)
            times.append(time.perf_counter() - wall)
            cores.append(time.process_time() - core)
        note = f"{statistics.median(cores):.2f} s of core time"
        yield Row(f"exact search, {metric}", statistics.median(times), 0.5, "s", 1.0, note=note)
