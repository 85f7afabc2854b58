"""Exact search over a million vectors in memory, by the clock, and the approximate index."""

import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks import Claim
from g5.embeddings.search import ApproximateIndex, search

N, D, QUERIES, ROUNDS = 1_000_000, 1024, 5, 5
# The index is for many queries. It takes long to build: 0.4 ms of core time a vector and more.
INDEXED, MANY, NEIGHBOURS = 50_000, 1000, 20


def rows() -> Iterator[Claim]:
    """1,000,000 x 1024 fp16, 5 queries, two threads, 20 neighbours, against half a second."""
    yield from _exact()
    yield from _approximate()


def _exact() -> Iterator[Claim]:
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
        yield Claim(f"exact search, {metric}", statistics.median(times), 0.5, "s", 1.0, note=note)


def _approximate() -> Iterator[Claim]:
    """Vectors that lie near a curved surface of 32 dimensions, as embeddings do."""
    rng = np.random.default_rng(0)
    place = rng.standard_normal((INDEXED + MANY, 32), dtype=np.float32)
    x = np.tanh(place @ rng.standard_normal((32, D), dtype=np.float32) / 5)
    x += 0.1 * rng.standard_normal(x.shape, dtype=np.float32)
    vectors, query = x[:INDEXED].astype(np.float16), x[INDEXED:]
    index = ApproximateIndex(width=D, metric="cosine")
    start = time.perf_counter()
    index.add(vectors)
    built = time.perf_counter() - start
    ours, exact, found, true = [], [], np.zeros(0), np.zeros(0)
    for _ in range(3):
        start = time.perf_counter()
        _, found = index.search(query, k=NEIGHBOURS)
        middle = time.perf_counter()
        _, true = search(vectors, query, k=NEIGHBOURS, metric="cosine")
        exact.append(time.perf_counter() - middle)
        ours.append(middle - start)
    hits = [len(np.intersect1d(*pair)) / NEIGHBOURS for pair in zip(found, true, strict=True)]
    note = f"{MANY:,} queries of {INDEXED:,} x {D}"
    yield Claim(
        f"approximate index, recall@{NEIGHBOURS}", float(np.mean(hits)), 1.0, "share", 0.9,
        at_least=True, note=f"{note}; built in {built:.0f} s",
    )  # fmt: skip
    yield Claim(
        "approximate search / exact", statistics.median(ours), statistics.median(exact), "s", 1.0,
        note=note,
    )  # fmt: skip
