"""Prototypes, distances and logits of prototypical networks: pure functions in fp32.

Source: Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017.

Everything here is computed in fp32 with autocast off, from plain differences and products:
``|q|^2 - 2 q.p + |p|^2`` cancels when embeddings lie far from the origin, and in bf16 or TF32 it
flips predictions. A pair's value does not depend on which other pairs are asked for with it.

Shapes: N classes, K support clips of a class, Q query clips, D embedding width.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Elements of the (queries, N, D) differences in memory at once: 8 MB in fp32, within reach of
# the CPU's cache. Speed only; no result depends on it.
BLOCK_ELEMENTS = 2**21


def prototypes(support_NKD: Tensor) -> Tensor:
    """Mean embedding of each class: ``(N, K, D) -> (N, D)`` in fp32 (Snell et al. 2017, eq. 1)."""
    assert support_NKD.ndim == 3, support_NKD.shape
    assert support_NKD.shape[1] > 0, support_NKD.shape
    with torch.autocast(support_NKD.device.type, enabled=False):
        return support_NKD.float().mean(dim=1)


def squared_euclidean(query_QD: Tensor, proto_ND: Tensor) -> Tensor:
    """Squared Euclidean distance of every query to every prototype: ``(Q, N)`` in fp32."""
    return pairwise(lambda q_Q1D, p_1ND: (q_Q1D - p_1ND).square().sum(-1), query_QD, proto_ND)


def cosine_similarity(query_QD: Tensor, proto_ND: Tensor) -> Tensor:
    """Cosine of the angle between every query and every prototype: ``(Q, N)`` in fp32, in [-1, 1].

    A vector of zeros has cosine 0 with everything.
    """
    return pairwise(
        lambda q_Q1D, p_1ND: (q_Q1D * p_1ND).sum(-1), unit(query_QD), unit(proto_ND)
    ).clamp(-1.0, 1.0)


def euclidean_logits(query_QD: Tensor, proto_ND: Tensor) -> Tensor:
    """Minus the squared Euclidean distance: ``(Q, N)`` in fp32 (Snell et al. 2017, eq. 2)."""
    return -squared_euclidean(query_QD, proto_ND)


def cosine_logits(query_QD: Tensor, proto_ND: Tensor, scale: float) -> Tensor:
    """``scale`` times the cosine: ``(Q, N)`` in fp32 (Gidaris and Komodakis, CVPR 2018)."""
    return scale * cosine_similarity(query_QD, proto_ND)


def unit(x_XD: Tensor) -> Tensor:
    """Vectors scaled to length 1 in fp32; a vector of zeros stays one."""
    with torch.autocast(x_XD.device.type, enabled=False):
        return torch.nn.functional.normalize(x_XD.float(), dim=-1)


def pairwise(
    function: Callable[[Tensor, Tensor], Tensor], query_QD: Tensor, proto_ND: Tensor
) -> Tensor:
    """Value of ``function`` for every pair: ``(Q, N)``, in fp32 with autocast off.

    Args:
        function: takes ``(q, 1, D)`` and ``(1, N, D)`` and returns ``(q, N)``. It must treat each
            pair on its own, because queries come to it in blocks that bound the memory.
        query_QD: embeddings of the queries.
        proto_ND: prototypes, or whatever is compared to.
    """
    assert query_QD.ndim == proto_ND.ndim == 2, (query_QD.shape, proto_ND.shape)
    assert query_QD.shape[1] == proto_ND.shape[1], (query_QD.shape, proto_ND.shape)
    with torch.autocast(query_QD.device.type, enabled=False):
        proto_1ND = proto_ND.float()[None]
        rows = max(1, BLOCK_ELEMENTS // max(1, proto_ND.numel()))
        blocks = [function(q_QD.float()[:, None], proto_1ND) for q_QD in query_QD.split(rows)]
        return torch.cat(blocks)
