"""Vectors on a plane or in space: PCA, t-SNE and UMAP.

Shapes: N vectors, D their width, P dimensions of the map (2 or 3).
"""

from typing import Literal

import numpy as np
import torch

from preprocessing.errors import UserError

Method = Literal["pca", "tsne", "umap"]
METHODS = ("pca", "tsne", "umap")
# t-SNE and UMAP see this many principal components: the rest is mostly noise, and costs time.
COMPONENTS = 50
VECTORS_PER_COMPONENT = 10


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
    if len(x_ND) < 4:
        raise UserError(f"a map needs at least 4 vectors, not {len(x_ND)}")
    x_ND = np.asarray(x_ND, np.float32)
    if method == "pca":
        return pca(x_ND, dims)
    small = pca(x_ND, min(COMPONENTS, *x_ND.shape))
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(float(neighbours), (len(x_ND) - 1) / 3)
        return TSNE(dims, perplexity=perplexity, init="pca", random_state=seed).fit_transform(small)
    try:
        from umap import UMAP  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            "map.method=umap needs umap-learn: pip install umap-learn; or take map.method=tsne"
        ) from error
    near = min(neighbours, len(x_ND) - 1)
    # A fixed seed costs UMAP its threads, and buys the same map twice.
    model = UMAP(n_neighbors=near, n_components=dims, random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(small), np.float32)


def pca(x_ND: np.ndarray, dims: int) -> np.ndarray:
    """The first principal components, (N, P); columns of zeros where there are fewer."""
    x = torch.from_numpy(np.array(x_ND, np.float32))
    x -= x.mean(dim=0)
    rank = min(dims, *x.shape)
    _, vectors = torch.linalg.eigh((x.T @ x).double())
    out = np.zeros((len(x), dims), np.float32)
    out[:, :rank] = (x @ vectors.flip(1)[:, :rank].float()).numpy()
    # The sign of a component is arbitrary: take the one whose largest value is positive.
    sign = np.sign(out[np.abs(out).argmax(axis=0), np.arange(dims)])
    return out * np.where(sign == 0, 1, sign)


class Whitening:
    """Vectors in their first principal components, each of unit variance, then of unit length.

    Learned from vectors alone, without labels. With few labels it helps a linear head more than
    anything else: an embedding's few loudest directions are rarely those that tell classes apart.

    Args:
        x_ND: what is learned from.
        components: kept; at most one for every ten vectors, and no more than there are dimensions.
    """

    def __init__(self, x_ND: np.ndarray, components: int) -> None:
        x = torch.from_numpy(np.array(x_ND, np.float32))
        self._mean = x.mean(dim=0)
        # Dimensions that hardly vary are rounding, and are not blown up.
        std = x.std(dim=0, correction=0)
        scale = 1 / std.clamp(min=max(1e-3 * float(std.max()), 1e-12))
        x = (x - self._mean) * scale
        values, vectors = torch.linalg.eigh((x.T @ x).double() / len(x))
        # Nearly as many components as vectors would make all vectors equally far from each other.
        most = min(components, max(len(x) // VECTORS_PER_COMPONENT, 2), len(x) - 1)
        rank = max(1, min(most, int((values > 1e-6 * values[-1]).sum())))
        top = vectors.flip(1)[:, :rank] / values.flip(0)[:rank].clamp(min=1e-12).sqrt()
        self._matrix = scale[:, None] * top.float()

    def __call__(self, x_UD: np.ndarray) -> np.ndarray:
        """(U, D) to (U, components), fp32, of unit length."""
        x = torch.from_numpy(np.array(x_UD, np.float32))
        return torch.nn.functional.normalize((x - self._mean) @ self._matrix, dim=1).numpy()
