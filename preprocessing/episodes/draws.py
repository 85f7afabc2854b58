"""Random draws that depend on their seed alone: a generator of its own, and different integers."""

import numpy as np


def distinct(rng: np.random.Generator, limit_R: np.ndarray, count: int) -> np.ndarray:
    """In each row ``count`` different integers of ``0..limit - 1``, every set equally likely.

    Floyd's algorithm (Bentley and Floyd, "Programming pearls: a sample of brilliance", CACM
    1987), all rows at once; the order within a row is not random.

    Args:
        limit_R: ``(R,)`` integers, each at least ``count``.

    Returns:
        ``(R, count)`` int64.
    """
    last = limit_R - count + np.arange(count)[:, None]
    drawn = (rng.random(last.shape) * (last + 1)).astype(np.int64)
    for i in range(1, count):
        taken = (drawn[:i] == drawn[i]).any(axis=0)
        drawn[i, taken] = last[i, taken]
    return drawn.T


def generator(*entropy: int, stream: int = 0) -> np.random.Generator:
    """A counter-based generator of its own for ``entropy`` and ``stream``."""
    return np.random.Generator(
        np.random.Philox(np.random.SeedSequence(entropy, spawn_key=(stream,) if stream else ()))
    )
