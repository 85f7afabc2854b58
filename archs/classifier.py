"""The cosine classifier of pretraining: one direction for each training class.

Sources: Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting", CVPR 2018;
Chen et al., "A Closer Look at Few-shot Classification", ICLR 2019 (Baseline++).

Shapes: B clips, D embedding width, C classes.
"""

import math

import torch
from torch import Tensor, nn

from archs.prototypes import unit

START_SCALE = 16.0  # of the logits; a cosine alone is too flat for hundreds of classes


class CosineClassifier(nn.Module):
    """Logits are a learned scale times the cosine between an embedding and each class's direction.

    Args:
        embedding_dim: D.
        classes: C.
    """

    def __init__(self, embedding_dim: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, embedding_dim) / embedding_dim**0.5)
        self.log_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))

    def forward(self, z_BD: Tensor) -> Tensor:
        """``(B, D) -> (B, C)`` in fp32."""
        with torch.autocast(z_BD.device.type, enabled=False):
            return self.log_scale.exp() * (unit(z_BD) @ unit(self.weight).T)
