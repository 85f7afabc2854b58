"""`g5 cluster`: groups of vectors by k-means and HDBSCAN, and how good the groups are.

Shapes: N vectors, D their width, S those that are clustered, P principal components.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from g5.common.errors import UserError
from g5.common.spreadsheet import write_csv
from g5.common.words import counted
from g5.config.schema import ClusterSettings
from g5.embeddings.projection import pca
from g5.embeddings.vectors import Vectors, VectorStore
from g5.embeddings.whitening import unit_vectors
from g5.transfer.explore.clips import beside

# Silhouettes compare all pairs: so many vectors are enough to know them to two digits.
SILHOUETTE_ROWS = 2000
NOISE = -1
# Given by name from here: scikit-learn has no types for them.
COPY: dict[str, Any] = {"copy": True}
STARTS: dict[str, Any] = {"n_init": 3}


@dataclass(frozen=True)
class Clusters:
    """What a method found.

    Attributes:
        method: ``kmeans`` or ``hdbscan``.
        cluster_N: of each vector, the largest cluster first; -1: noise.
        silhouette: in [-1, 1], noise left out (Rousseeuw 1987); NaN where there is one cluster.
        davies_bouldin: 0 is best (Davies & Bouldin 1979); NaN as above.
        tried: silhouettes of the numbers of clusters that were tried.
    """

    method: str
    cluster_N: np.ndarray
    silhouette: float
    davies_bouldin: float
    tried: dict[int, float]

    def text(self) -> str:
        """In a line or two."""
        sizes = np.bincount(self.cluster_N[self.cluster_N >= 0]).tolist()
        noise = int((self.cluster_N == NOISE).sum())
        of = f"{len(sizes)} clusters of {_few(sizes)}" if sizes else "no clusters"
        parts = [f"{self.method}: {of}"]
        if noise:
            parts.append(f"{noise} in none")
        if np.isfinite(self.silhouette):
            parts.append(f"silhouette {self.silhouette:.2f} (1: apart, 0: touching)")
            parts.append(f"Davies-Bouldin {self.davies_bouldin:.2f} (0 is best)")
        elif sizes:
            parts.append("one group only: no quality to speak of")
        if self.tried:
            best = sorted(self.tried.items(), key=lambda pair: -pair[1])[:4]
            tried = ", ".join(f"k={k} {value:.2f}" for k, value in best)
            parts.append(f"best silhouettes: {tried}")
        return "; ".join(parts)

    def agreement(self, labels: np.ndarray) -> float | None:
        """Adjusted Rand index against labels (N,), where there are any ("": none)."""
        from sklearn.metrics import adjusted_rand_score

        known = labels != ""
        if known.sum() < 2:
            return None
        return float(adjusted_rand_score(labels[known], self.cluster_N[known]))


def cluster(path: Path, out: Path | None, settings: ClusterSettings) -> None:
    """Group the vectors; a CSV with a cluster for every clip, and how good the groups are."""
    store = VectorStore.open(path)
    results = cluster_vectors(store.vectors, settings)
    index = store.index
    table: Any = index[["file", "start_s", "end_s", "label"]].copy()
    labels = index["label"].astype(str).to_numpy()
    for result in results:
        table[result.method] = result.cluster_N
        print(result.text())
        agreement = result.agreement(labels)
        if agreement is not None:
            print(
                f"  against the store's labels: adjusted Rand index {agreement:.2f} (1: the same)"
            )
    out = out or beside(store, "clusters.csv")
    write_csv(table, out)
    print(f"clusters of {counted(len(table), 'clip')} in {out}")


def cluster_vectors(vectors: Vectors | np.ndarray, settings: ClusterSettings) -> list[Clusters]:
    """Cluster unit vectors (N, D) in their first principal components.

    Of more than ``settings.most`` vectors a random part is clustered; the rest gets the cluster
    of its nearest neighbour in that part. HDBSCAN is by Campello et al. 2013.

    Raises:
        UserError: too few vectors.
    """
    least = max(settings.min_cluster_size, settings.k or 2) + 1
    if len(vectors) < least:
        raise UserError(f"clusters need {least} vectors, and here are {len(vectors)}")
    rng = np.random.default_rng(settings.seed)
    rows = np.arange(len(vectors))
    if len(rows) > settings.most:
        rows = np.sort(rng.choice(rows, settings.most, replace=False))
    z_SD = unit_vectors(vectors[rows])
    x_SP = pca(z_SD, min(settings.components, *z_SD.shape))
    sample = rng.permutation(len(x_SP))[:SILHOUETTE_ROWS]
    results = []
    if settings.method in ("kmeans", "both"):
        cluster_S, tried = _kmeans(x_SP, sample, settings)
        results.append(_scored("kmeans", x_SP, cluster_S, sample, tried))
    if settings.method in ("hdbscan", "both"):
        from sklearn.cluster import HDBSCAN

        found = HDBSCAN(min_cluster_size=settings.min_cluster_size, **COPY).fit_predict(x_SP)
        results.append(_scored("hdbscan", x_SP, found, sample, {}))
    if len(rows) == len(vectors):
        return results
    return [_spread_out(result, vectors, rows, z_SD) for result in results]


def _kmeans(
    x_SP: np.ndarray, sample: np.ndarray, settings: ClusterSettings
) -> tuple[np.ndarray, dict[int, float]]:
    from sklearn.cluster import KMeans

    def fit(n: int) -> np.ndarray:
        return KMeans(n, random_state=settings.seed, **STARTS).fit_predict(x_SP)

    if settings.k is not None:
        return fit(settings.k), {}
    numbers = range(2, min(settings.max_k, len(x_SP) - 1) + 1)
    found = {n: fit(n) for n in numbers}
    tried = {n: _silhouette(x_SP, cluster_S, sample) for n, cluster_S in found.items()}
    return found[max(tried, key=lambda n: tried[n])], tried


def _silhouette(x_SP: np.ndarray, cluster_S: np.ndarray, sample: np.ndarray) -> float:
    from sklearn.metrics import silhouette_score

    kept = sample[cluster_S[sample] != NOISE]
    n = len(np.unique(cluster_S[kept]))
    return float(silhouette_score(x_SP[kept], cluster_S[kept])) if 1 < n < len(kept) else np.nan


def _scored(
    method: str, x_SP: np.ndarray, cluster_S: np.ndarray, sample: np.ndarray, tried: dict
) -> Clusters:
    from sklearn.metrics import davies_bouldin_score

    # The largest first, so that numbers mean something.
    names, counts = np.unique(cluster_S[cluster_S != NOISE], return_counts=True)
    number = {int(name): i for i, name in enumerate(names[np.argsort(-counts, kind="stable")])}
    cluster_S = np.array([number.get(int(name), NOISE) for name in cluster_S])
    kept = cluster_S != NOISE
    several = len(number) > 1 and kept.sum() > len(number)
    davies = float(davies_bouldin_score(x_SP[kept], cluster_S[kept])) if several else np.nan
    return Clusters(method, cluster_S, _silhouette(x_SP, cluster_S, sample), davies, tried)


def _spread_out(
    result: Clusters, vectors: Vectors | np.ndarray, rows: np.ndarray, z_SD: np.ndarray
) -> Clusters:
    """The clusters of all vectors, by their nearest neighbour among the clustered."""
    cluster_N = np.empty(len(vectors), np.int64)
    step = 2048
    for start in range(0, len(vectors), step):
        part = unit_vectors(vectors[start : start + step])
        cluster_N[start : start + len(part)] = result.cluster_N[(part @ z_SD.T).argmax(axis=1)]
    cluster_N[rows] = result.cluster_N
    return Clusters(
        result.method, cluster_N, result.silhouette, result.davies_bouldin, result.tried
    )


def _few(sizes: list[int]) -> str:
    shown = ", ".join(map(str, sizes[:8]))
    return shown + (f", ... {sizes[-1]}" if len(sizes) > 8 else "")
