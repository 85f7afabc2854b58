"""Vectors on a plane or in space: PCA, t-SNE and UMAP.

Shapes: N vectors, D their width, P dimensions of the map (2 or 3).
"""

from typing import Literal

import numpy as np

from g5.common.errors import UserError

Method = Literal["pca", "tsne", "umap"]
METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
# t-SNE and UMAP see this many principal components: the rest is mostly noise, and costs time.
COMPONENTS = 50
# A map of at least so many points may leave this share of them outside, at each end of an axis,
# where they are farther out than this part of what the others take, and the edge is so far off.
FRAMED, OUTSIDE, ROOM, EDGE = 10, 0.01, 0.5, 0.1


def project(
    x_ND: np.ndarray, *, method: Method, dims: int, neighbours: int, seed: int
) -> np.ndarray:
    """Place vectors on a map, (N, P) float32.

    Args:
        x_ND: finite.
        method: ``pca``, ``tsne`` (van der Maaten & Hinton 2008) or ``umap`` (McInnes et al. 2018;
            needs umap-learn).
        dims: 2 or 3.
        neighbours: t-SNE's perplexity, UMAP's neighbours; cut to what so few vectors allow.
        seed: of what is random.

    Raises:
        UserError: an unknown method, other dimensions, fewer than four vectors, no umap-learn.
    """
    if method not in METHODS:
        raise UserError(f"map.method={method} is none of {', '.join(METHODS)}")
    if dims not in (2, 3):
        raise UserError(f"map.dims={dims}: must be 2 or 3")
    if len(x_ND) < 3:
        raise UserError(f"a map needs at least 3 vectors, not {len(x_ND)}")
    x_ND = np.asarray(x_ND, np.float32)
    # t-SNE crashes on vectors that have all collapsed into one.
    if np.ptp(x_ND, axis=0).max() <= 1e-6 * np.abs(x_ND).max():
        return np.zeros((len(x_ND), dims), np.float32)
    if method == "pca":
        return pca(x_ND, dims)
    small = pca(x_ND, min(COMPONENTS, *x_ND.shape))
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(float(neighbours), (len(x_ND) - 1) / 3)
        return TSNE(dims, perplexity=perplexity, init="pca", random_state=seed).fit_transform(small)
    if not has_umap():
        raise UserError('a UMAP needs umap-learn: pip install "g5[umap]"; or take t-SNE (tsne)')
    return _umap(small, dims=dims, neighbours=min(neighbours, len(x_ND) - 1), seed=seed)


def frame(place_NP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a map begins and ends on each axis, (P,) and (P,), so that a few points that are far
    from all others do not squeeze these into a corner.

    Without such points these are the smallest and the largest value.
    """
    sorted_NP = np.sort(place_NP, axis=0)
    if len(place_NP) < FRAMED:
        return sorted_NP[0], sorted_NP[-1]
    k = max(1, int(OUTSIDE * len(place_NP)))
    inner_low, inner_high = sorted_NP[k], sorted_NP[-1 - k]
    room = ROOM * (inner_high - inner_low)
    # Where all but those few are one point there is nothing to see closer.
    room[room == 0] = np.inf
    near_NP = (sorted_NP >= inner_low - room) & (sorted_NP <= inner_high + room)
    low = np.where(near_NP, sorted_NP, np.inf).min(axis=0)
    high = np.where(near_NP, sorted_NP, -np.inf).max(axis=0)
    edge = EDGE * (high - low)
    return low - edge * (low > sorted_NP[0]), high + edge * (high < sorted_NP[-1])


def has_umap() -> bool:
    """Whether the optional package is installed (`pip install umap-learn`)."""
    from importlib import metadata

    # By the name it is installed by: another package is called umap as well.
    try:
        metadata.version("umap-learn")
    except metadata.PackageNotFoundError:
        return False
    return True


def _umap(small: np.ndarray, *, dims: int, neighbours: int, seed: int) -> np.ndarray:
    import warnings

    from umap import UMAP  # pyright: ignore[reportMissingImports]

    from g5.common.device import torch_threads

    start = "spectral" if len(small) > 10 else "random"
    # numba's threads are OpenMP's, and so are PyTorch's: it leaves its own number behind.
    with torch_threads(None), warnings.catch_warnings():
        # It says that a seed costs its parallelism, and what numba thinks of its code.
        warnings.simplefilter("ignore")
        model = UMAP(
            n_neighbors=neighbours, n_components=dims, init=start, random_state=seed, n_jobs=1
        )
        return np.asarray(model.fit_transform(small), np.float32)


def pca(x_ND: np.ndarray, dims: int) -> np.ndarray:
    """The first principal components, (N, P); columns of zeros where there are fewer."""
    import torch

    x = torch.from_numpy(np.array(x_ND, np.float32))
    x -= x.mean(dim=0)
    rank = min(dims, *x.shape)
    _, vectors = torch.linalg.eigh((x.T @ x).double())
    out = np.zeros((len(x), dims), np.float32)
    out[:, :rank] = (x @ vectors.flip(1)[:, :rank].float()).numpy()
    # The sign of a component is arbitrary: take the one whose largest value is positive.
    sign = np.sign(out[np.abs(out).argmax(axis=0), np.arange(dims)])
    return out * np.where(sign == 0, 1, sign)
