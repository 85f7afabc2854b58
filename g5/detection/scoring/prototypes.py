"""Prototypes of what is wanted and of what is not, from embeddings of the support.

Shapes: N windows, K shots, O windows of a shot, D embedding width, C negative prototypes.
"""

import torch
from torch import Tensor

# Lloyd's iterations; clusters of a few hundred vectors have long settled.
ITERATIONS = 20


def clusters(x_ND: Tensor, count: int) -> Tensor:
    """Centres of at most ``count`` clusters, (C, D): k-means from far-apart starts (Lloyd 1982).

    Nothing is random: the first centre is the mean, each further one the vector farthest from
    those before it.
    """
    if len(x_ND) <= count:
        return x_ND.clone()
    centre_CD = x_ND.mean(dim=0, keepdim=True)
    for _ in range(count - 1):
        far = torch.cdist(x_ND, centre_CD).amin(dim=1).argmax()
        centre_CD = torch.cat([centre_CD, x_ND[far][None]])
    for _ in range(ITERATIONS):
        member_N = torch.cdist(x_ND, centre_CD).argmin(dim=1)
        total_CD = torch.zeros_like(centre_CD).index_add_(0, member_N, x_ND)
        count_C = torch.bincount(member_N, minlength=len(centre_CD))
        filled_C = count_C > 0
        centre_CD = total_CD[filled_C] / count_C[filled_C][:, None]
    return centre_CD


def refined(
    positive_D: Tensor, negative_CD: Tensor, x_ND: Tensor, *, steps: int, temperature: float,
    weight: float,
) -> Tensor:  # fmt: skip
    """The positive prototype moved towards the unlabelled windows that resemble it.

    Soft k-means (Ren et al., "Meta-learning for semi-supervised few-shot classification", ICLR
    2018): each step it becomes the mean of the support and of the windows weighted by their
    probability; the negatives stay, because what is unlabelled is not negative.

    Args:
        positive_D: the support's prototype.
        negative_CD: negative prototypes.
        x_ND: unlabelled windows.
        steps: how often.
        temperature: of the probabilities, as a share of the mean distance to the negatives.
        weight: of the windows, all together, against the support.
    """
    start_D = positive_D
    for _ in range(steps):
        proto = torch.cat([positive_D[None], negative_CD])
        distance_NP = torch.cdist(x_ND, proto).square()
        scale = temperature * distance_NP[:, 1:].mean().clamp(min=1e-9)
        weight_N = torch.softmax(-distance_NP / scale, dim=1)[:, 0]
        if float(weight_N.sum()) < 1e-12:
            break
        mean_D = (weight_N[:, None] * x_ND).sum(dim=0) / weight_N.sum()
        positive_D = (1 - weight) * start_D + weight * mean_D
    return positive_D
