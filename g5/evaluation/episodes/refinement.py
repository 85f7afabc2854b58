"""Transductive refinement: an episode's queries, sorted by the model, move its prototypes.

Source: Ren et al., "Meta-Learning for Semi-Supervised Few-Shot Classification", ICLR 2018 (soft
k-means on prototypes), with the test's own queries for the unlabelled calls, as in Liu et al.,
"Learning to Propagate Labels", ICLR 2019.

Such a test answers another question: its queries come all at once, as many of each class. It is
off by default and must never be compared with a test that sees one query at a time.

Shapes: N classes, K support clips of a class, Q query clips, D embedding width,
S all support clips.
"""

import torch
from torch import Tensor, nn

from archs.protonet import ProtoNet


class Refined(nn.Module):
    """A model, and how many rounds of soft k-means its prototypes go through in each episode."""

    def __init__(self, model: ProtoNet, rounds: int) -> None:
        super().__init__()
        self.model, self.rounds = model, rounds

    def logits(self, support_NKD: Tensor, query_QD: Tensor) -> Tensor:
        """Classify embedded queries by prototypes that they have moved: ``(Q, N)`` in fp32."""
        logits_QN = self.model.logits(support_NKD, query_QD)
        within_SD = self.model.scatter_of(support_NKD)
        with torch.autocast(query_QD.device.type, enabled=False):
            support_NKD, query_QD = support_NKD.float(), query_QD.float()
            for _ in range(self.rounds):
                share_NQ = logits_QN.softmax(dim=1).T
                weight_N1 = support_NKD.shape[1] + share_NQ.sum(dim=1, keepdim=True)
                proto_ND = (support_NKD.sum(dim=1) + share_NQ @ query_QD) / weight_N1
                logits_QN = self.model.compared(proto_ND, query_QD, within_SD)
        return logits_QN
