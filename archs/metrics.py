"""Learned distances: a linear map of the embeddings, or an MLP over pairs of them.

Sources: Hatch, Kajarekar and Stolcke, "Within-class covariance normalization for SVM-based speaker
recognition", Interspeech 2006; Prince and Elder, "Probabilistic linear discriminant analysis for
inferences about identity", ICCV 2007, and its two covariances, Brümmer and de Villiers, Odyssey
2010; Ledoit and Wolf, "A well-conditioned estimator for large-dimensional
covariance matrices", 2004 (shrinking towards the mean eigenvalue); Friedman, "Regularized
Discriminant Analysis", 1989, and Bateni et al., "Improved Few-Shot Visual Classification", CVPR
2020 (what the support's own scatter says); Sung et al., "Learning to Compare", CVPR 2018 (a
learned comparison).

Shapes: X embeddings, C classes, D embedding width, R rank, Q query clips, N classes, K shots of a
class, S all shots.
"""

import math
from itertools import pairwise as neighbours

import torch
from torch import Tensor, nn

from archs.prototypes import pairwise, squared_euclidean, unit

# Keeps directions in which nothing varies finite.
TINY = 1e-12
# Share of squared lengths below which shots do not differ, in fp32.
ROUNDING = 1e-9


class MahalanobisMap(nn.Module):
    """Maps embeddings so that their Euclidean distance is a learned Mahalanobis one.

    ``W z = a * z + U (V z)``, a diagonal and a low rank, then scaled to the length that the
    embedding had. It starts at the identity and is learned in closed form (`fit`); by gradient it
    learned what the training classes differ in and nothing else. Mapping embeddings rather than
    their pairs makes the learned distance the one of everything that uses them: test, detection,
    search.

    Args:
        embedding_dim: D.
        rank: R, of the directions that are weighed on their own; 1 to D.
        shrink: of the within-class covariance towards its mean eigenvalue, 0 to 1.
    """

    diagonal_D: Tensor
    up_DR: Tensor
    down_RD: Tensor

    def __init__(self, embedding_dim: int, rank: int, shrink: float) -> None:
        super().__init__()
        self.shrink = shrink
        self.register_buffer("diagonal_D", torch.ones(embedding_dim))
        self.register_buffer("up_DR", torch.zeros(embedding_dim, rank))
        self.register_buffer("down_RD", torch.zeros(rank, embedding_dim))

    def forward(self, z_XD: Tensor) -> Tensor:
        """``(X, D) -> (X, D)`` in fp32, each embedding as long as before."""
        with torch.autocast(z_XD.device.type, enabled=False):
            z_XD = z_XD.float()
            mapped_XD = self.diagonal_D * z_XD + (z_XD @ self.down_RD.T) @ self.up_DR.T
            return unit(mapped_XD) * z_XD.norm(dim=1, keepdim=True)

    @torch.no_grad()
    def fit(self, z_XD: Tensor, class_X: Tensor) -> None:
        """Learn it: whiten what a class differs in, weigh what classes differ in.

        That is the two-covariance model of PLDA: directions count by the share of their variance,
        after whitening, that lies between classes. Whitening alone would blow up directions that
        hold nothing but noise. R directions are weighed on their own, the others by their mean.

        Args:
            z_XD: embeddings as `forward` takes them.
            class_X: their classes, some of them more than once.
        """
        unit_XD = unit(z_XD).double()
        between_DD, within_DD = covariances(unit_XD, class_X)
        flat_DD = within_DD.diagonal().mean() * _one(within_DD)
        within_DD = torch.lerp(within_DD, flat_DD, self.shrink)
        value_D, vector_DD = torch.linalg.eigh(within_DD)
        white_DD = vector_DD * value_D.clamp(min=TINY).rsqrt()
        between_D, turn_DD = torch.linalg.eigh(white_DD.T @ between_DD @ white_DD)
        between_D = between_D.clamp(min=0)
        share_D = between_D / (between_D + between_D.mean()).clamp(min=TINY)
        half_DD = white_DD @ turn_DD * share_D.sqrt()
        value_D, vector_DD = torch.linalg.eigh(half_DD @ half_DD.T)
        scale_D, rank = value_D.clamp(min=0).sqrt(), len(self.down_RD)
        rest = scale_D[:-rank].mean() if rank < len(scale_D) else scale_D.new_zeros(())
        self.diagonal_D.fill_(float(rest))
        self.down_RD.copy_(vector_DD[:, -rank:].T)
        self.up_DR.copy_(vector_DD[:, -rank:] * (scale_D[-rank:] - rest))


class SupportScatter(nn.Module):
    """What the shots of one class differ in counts less, in the episode that they are of.

    Squared distances become ``b (q - p)' (W + b I)^-1 (q - p)``, with the shots' scatter ``W``
    about their classes' means, and ``b`` a floor in units of the mean of W's variances (those that
    are not zero). So a distance is at most the Euclidean one, which it is of single shots.

    What we changed against Simple CNAPS: one scatter for all classes, and no covariance of the
    embeddings at large, which gained nothing.

    Args:
        floor: where the floor starts; it is learned.
    """

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.log_floor = nn.Parameter(torch.tensor(math.log(floor)))

    def forward(self, support_NKD: Tensor) -> Tensor | None:
        """A map ``(S, D)`` whose squared length is what a Euclidean distance loses; None: nothing.

        By Woodbury's identity that needs a matrix of the shots, not of the embedding's width.
        """
        classes, shots = support_NKD.shape[:2]
        if shots == 1:
            return None
        with torch.autocast(support_NKD.device.type, enabled=False):
            support_NKD = support_NKD.float()
            apart_SD = (support_NKD - support_NKD.mean(dim=1, keepdim=True)).flatten(0, 1)
            gram_SS = apart_SD @ apart_SD.T
            variance = gram_SS.diagonal().sum() / (classes * (shots - 1))
            rounding = ROUNDING * support_NKD.square().sum(dim=2).mean() + TINY
            floor = self.log_floor.exp() * variance + rounding
            lower_SS = torch.linalg.cholesky(gram_SS + floor * _one(gram_SS))
            return torch.linalg.solve_triangular(lower_SS, apart_SD, upper=False)


def scattered_logits(proto_ND: Tensor, query_QD: Tensor, within_SD: Tensor) -> Tensor:
    """Minus the squared distance that a `SupportScatter` makes of the Euclidean one: ``(Q, N)``."""
    with torch.autocast(query_QD.device.type, enabled=False):
        query_QS, proto_NS = query_QD.float() @ within_SD.T, proto_ND.float() @ within_SD.T
        lost_QN = squared_euclidean(query_QS, proto_NS)
        return lost_QN - squared_euclidean(query_QD, proto_ND)


def covariances(z_XD: Tensor, class_X: Tensor) -> tuple[Tensor, Tensor]:
    """Between classes and within them, ``(D, D)`` each.

    Means of a few embeddings differ where classes do not: by a share of what is within.
    """
    classes, index_X = class_X.unique(return_inverse=True)
    assert 1 < len(classes) < len(class_X), "needs two classes, and two embeddings of one"
    sum_CD = torch.zeros(len(classes), z_XD.shape[1], dtype=z_XD.dtype, device=z_XD.device)
    sum_CD.index_add_(0, index_X, z_XD)
    count_C = index_X.bincount()
    mean_CD = sum_CD / count_C[:, None]
    centred_XD = z_XD - mean_CD[index_X]
    within_DD = centred_XD.T @ centred_XD / (len(class_X) - len(classes))
    return mean_CD.T.cov() - within_DD * count_C.double().reciprocal().mean(), within_DD


def _one(x_DD: Tensor) -> Tensor:
    return torch.eye(len(x_DD), dtype=x_DD.dtype, device=x_DD.device)


class PairMLP(nn.Module):
    """Squared Euclidean distance times a factor that an MLP sees in the pair, which starts at 1.

    ``d(q, p) = |q - p|^2 f(MLP(sqrt(D) |q' - p'|))`` with ``q'``, ``p'`` scaled to length 1 and
    ``|.|`` per element: symmetric in q and p, and of one shape whatever the embedding's length.
    With a ``share``, ``f(c) = 1 + share tanh(c)``; without, ``f(c) = exp(c)``, which is free. A
    free factor learns what the training species differ in and unlearns the rest: it gained on
    species like those of training and lost 20 points where individuals had to be told apart.

    Args:
        embedding_dim: D.
        hidden: widths of the MLP's hidden layers.
        share: the factor's largest distance from 1; None: no bound.
    """

    def __init__(self, embedding_dim: int, hidden: list[int], share: float | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in neighbours([embedding_dim, *hidden]):
            layers += [nn.Linear(a, b), nn.ReLU(inplace=True)]
        last = nn.Linear([embedding_dim, *hidden][-1], 1, bias=False)
        nn.init.zeros_(last.weight)
        self.correction = nn.Sequential(*layers, last)
        self.scale = embedding_dim**0.5
        self.share = share

    def forward(self, query_QD: Tensor, proto_ND: Tensor) -> Tensor:
        """Distance of every query to every prototype: ``(Q, N)`` in fp32."""
        correction_QN = pairwise(
            lambda q_Q1D, p_1ND: self.correction((q_Q1D - p_1ND).abs() * self.scale).squeeze(-1),
            unit(query_QD),
            unit(proto_ND),
        )
        if self.share is None:
            return squared_euclidean(query_QD, proto_ND) * correction_QN.exp()
        return squared_euclidean(query_QD, proto_ND) * (1 + self.share * correction_QN.tanh())
