"""Vectors at unit length, and whitened by their principal components, learned without labels.

Shapes: N vectors to learn from, U vectors, D their width.
"""

import numpy as np
import torch

from archs.prototypes import unit

VECTORS_PER_COMPONENT = 10


def unit_vectors(x_ND: np.ndarray) -> np.ndarray:
    """Vectors at unit length, fp32."""
    return unit(torch.from_numpy(np.array(x_ND, np.float32))).numpy()


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
        return unit((x - self._mean) @ self._matrix).numpy()
