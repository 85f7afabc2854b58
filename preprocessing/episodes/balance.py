"""Which rows of a labelled table an epoch takes, so that rare classes count as much as common ones.

Class weights (`archs.losses`) change what a mistake costs; here the examples themselves are
repeated or left out. Only training rows may be balanced: validation and test stay as they are.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Balance = Literal["none", "over", "under", "both"]


def balanced_rows(labels: Sequence[object] | np.ndarray, how: Balance, *, seed: int) -> np.ndarray:
    """Rows of a table in random order, every class as often as ``how`` says.

    ``"over"`` brings every class to the size of the largest: each row comes equally often, but
    for a rest that is drawn without repetition. ``"under"`` brings every class to the size of the
    smallest, by drawing without repetition. ``"both"`` brings every class to the mean size: small
    ones are repeated, large ones thinned out, and an epoch stays as long as it was. ``"none"``
    takes every row once.

    Args:
        labels: (n,) the class of each row.
        how: see above.
        seed: of the draws; another seed each epoch lets thinned-out classes show all they have.
    Returns:
        (m,) int64 rows.
    Raises:
        ValueError: there are no rows, or ``how`` is something else.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError("there are no labelled rows to balance")
    rng = np.random.default_rng(seed)
    if how == "none":
        return rng.permutation(len(labels))
    _, class_R = np.unique(labels, return_inverse=True)
    counts_C = np.bincount(class_R)
    sizes = {"over": counts_C.max(), "under": counts_C.min(), "both": round(counts_C.mean())}
    if how not in sizes:
        raise ValueError(f"{how!r} is none of none, over, under, both")
    size = int(sizes[how])
    parts = [_drawn(rng, np.flatnonzero(class_R == c), size) for c in range(len(counts_C))]
    return rng.permutation(np.concatenate(parts))


def _drawn(rng: np.random.Generator, rows: np.ndarray, size: int) -> np.ndarray:
    """``size`` of ``rows``: as many whole rounds as fit, and a rest without repetition."""
    rounds, rest = divmod(size, len(rows))
    return np.concatenate([np.tile(rows, rounds), rng.choice(rows, rest, replace=False)])
