"""Prototypes of what is wanted and of what is not, from embeddings of the support.

Shapes: N windows, K shots, D embedding width, C negative prototypes.
"""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from archs.protonet import ProtoNet

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


@torch.inference_mode()
def compared(model: ProtoNet, proto_PD: Tensor, z_ND: Tensor) -> Tensor:
    """The model's logits of embeddings by prototypes, wherever it is, (N, P) on the CPU."""
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    return model.prototype_logits(proto_PD.to(device), z_ND.to(device)).cpu()


@dataclass(frozen=True)
class Prototypes:
    """What embeddings of windows are compared with.

    Every shot is a prototype: calls of a species may be of several kinds, whose mean is none.

    Attributes:
        shots_KD: of the species.
        negative_CD: of what it is not.
        model: its ``prototype_logits`` compare.
    """

    shots_KD: Tensor
    negative_CD: Tensor
    model: ProtoNet

    def score(self, z_ND: Tensor) -> Tensor:
        """Log-odds of the shots, on average, against all negatives together, (N,)."""
        logits = compared(self.model, torch.cat([self.shots_KD, self.negative_CD]), z_ND)
        count = len(self.shots_KD)
        own_N = torch.logsumexp(logits[:, :count], dim=1) - log(count)
        return own_N - torch.logsumexp(logits[:, count:], dim=1)
