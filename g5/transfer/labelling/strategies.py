"""What to label next: strategies of active learning, as pure functions over the unlabelled.

Scores are higher where a label is worth more. Shapes: U unlabelled clips, L labelled ones,
D embedding width, C classes, S picks.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from g5.common.errors import UserError
from g5.embeddings.search import novelty

STRATEGIES = (
    "random", "least_confidence", "margin", "entropy", "k_centre", "batch", "novelty",
)  # fmt: skip
# A batch is chosen among so many times its size of the most uncertain.
POOL = 6
# What a clip is worth less for each one of its recording, and of its date, already in the batch.
REPEAT_RECORDING, REPEAT_DATE = 0.5, 0.8


@dataclass(frozen=True)
class ClipPool:
    """What a strategy may look at.

    Attributes:
        z_UD: unlabelled vectors, of unit length.
        z_LD: labelled vectors, of unit length.
        p_UC: probabilities of the classes known so far; None while there are fewer than two.
        recordings: of the unlabelled; None: each a recording of its own.
        dates: of the unlabelled; None where not known.
    """

    z_UD: np.ndarray
    z_LD: np.ndarray
    p_UC: np.ndarray | None
    recordings: Sequence[Hashable] | None = None
    dates: Sequence[Hashable] | None = None


def choose(strategy: str, pool: ClipPool, *, size: int, rng: np.random.Generator) -> np.ndarray:
    """``size`` of the unlabelled (fewer where there are fewer), the best first, (S,).

    While there are no probabilities, the uncertainty strategies choose `typical` clips.

    Raises:
        UserError: an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise UserError(f"strategy={strategy} is none of {', '.join(STRATEGIES)}")
    n = len(pool.z_UD)
    size = min(size, n)
    if size < 1:
        return np.zeros(0, np.int64)
    if strategy == "random":
        return rng.choice(n, size, replace=False)
    if strategy == "novelty" and len(pool.z_LD):
        return _top(novelty(pool.z_UD, pool.z_LD, k=1), size, rng)
    if strategy in ("k_centre", "novelty"):
        return k_centre(pool.z_UD, pool.z_LD, size=size, rng=rng)
    if pool.p_UC is None:
        return typical(pool.z_UD, size=size, rng=rng)
    if strategy == "batch":
        return batch(pool, size=size, rng=rng)
    score = {"least_confidence": least_confidence, "margin": margin, "entropy": entropy}[strategy]
    return _top(score(pool.p_UC), size, rng)


def least_confidence(p_UC: np.ndarray) -> np.ndarray:
    """One minus the largest probability (Lewis & Gale 1994), (U,)."""
    return 1 - p_UC.max(axis=1)


def margin(p_UC: np.ndarray) -> np.ndarray:
    """One minus the gap between the two largest probabilities (Scheffer et al. 2001), (U,)."""
    if p_UC.shape[1] < 2:
        return np.zeros(len(p_UC))
    two = np.partition(p_UC, -2, axis=1)[:, -2:]
    return 1 - (two[:, 1] - two[:, 0])


def entropy(p_UC: np.ndarray) -> np.ndarray:
    """Entropy of the probabilities as a share of the largest possible, (U,)."""
    p_UC = np.clip(p_UC, 1e-12, 1)
    return -(p_UC * np.log(p_UC)).sum(axis=1) / np.log(max(p_UC.shape[1], 2))


def k_centre(
    z_UD: np.ndarray, z_LD: np.ndarray, *, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Greedy k-centre: again and again the one farthest from all chosen (Sener & Savarese 2018).

    With nothing labelled it starts at the clip nearest to the mean, which is no outlier.
    """
    if len(z_LD):
        away_U = novelty(z_UD, z_LD, k=1)
        picks = [int(away_U.argmax())]
    else:
        picks = [int((z_UD @ z_UD.mean(axis=0)).argmax())]
        away_U = 1 - z_UD @ z_UD[picks[0]]
    while len(picks) < size:
        away_U = np.minimum(away_U, 1 - z_UD @ z_UD[picks[-1]])
        away_U[picks] = -np.inf
        picks.append(int(away_U.argmax()))
    return np.array(picks)


def typical(z_UD: np.ndarray, *, size: int, rng: np.random.Generator) -> np.ndarray:
    """The clip nearest to the centre of each of ``size`` clusters, the largest first.

    To begin with, what is typical teaches more than what is random or far out (Hacohen, Dekel
    and Weinshall 2022, who take the densest clip of each cluster).
    """
    distance_US, cluster_U = _clusters(z_UD, size, rng, None)
    counts_S = np.bincount(cluster_U, minlength=size)
    picks: list[int] = []
    for cluster in np.argsort(-counts_S, kind="stable"):
        away_U = distance_US[:, cluster].copy()
        away_U[picks] = np.inf
        picks.append(int(away_U.argmin()))
    return np.array(picks)


def batch(pool: ClipPool, *, size: int, rng: np.random.Generator) -> np.ndarray:
    """Uncertain and unlike each other, spread over recordings and dates.

    The `POOL` times ``size`` clips with the smallest margins are parted into ``size`` clusters by
    k-means weighted with the margin score (Zhdanov 2019, arXiv:1901.05954). From each cluster, the
    most uncertain first, comes the clip with the largest margin score, halved for each pick of
    the same recording and cut by a fifth for each of the same date.
    """
    assert pool.p_UC is not None
    score_U = margin(pool.p_UC)
    among = _top(score_U, min(POOL * size, len(score_U)), rng)
    z_AD, score_A = pool.z_UD[among], np.maximum(score_U[among], 1e-3)
    repeats = [
        (np.asarray(names, dtype=object)[among], factor)
        for names, factor in ((pool.recordings, REPEAT_RECORDING), (pool.dates, REPEAT_DATE))
        if names is not None
    ]
    _, cluster_A = _clusters(z_AD, size, rng, score_A)
    worth_A = np.ones(len(among))
    # Clusters by their most uncertain clip: `among` is sorted.
    turns = list(dict.fromkeys(cluster_A.tolist()))
    picks: list[int] = []
    while len(picks) < size:
        for cluster in turns:
            value_A = np.where(cluster_A == cluster, worth_A * score_A, -np.inf)
            value_A[picks] = -np.inf
            best = int(value_A.argmax())
            if len(picks) == size or not np.isfinite(value_A[best]):
                continue
            picks.append(best)
            for names_A, factor in repeats:
                worth_A = np.where(names_A == names_A[best], worth_A * factor, worth_A)
    return among[picks]


def _clusters(
    z_UD: np.ndarray, size: int, rng: np.random.Generator, weight_U: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Distance to each of ``size`` centres (U, S), and the nearest (U,), by k-means."""
    from sklearn.cluster import KMeans

    starts: Any = 1
    model = KMeans(size, n_init=starts, max_iter=20, random_state=int(rng.integers(2**31)))
    cluster_U = model.fit_predict(z_UD, sample_weight=weight_U)
    return model.transform(z_UD), cluster_U


def _top(score_U: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """The highest scores first; ties in random order."""
    return np.lexsort((rng.random(len(score_U)), -score_U))[:size]
