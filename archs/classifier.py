"""What teaches pretraining: a direction for each training class.

Sources: Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting", CVPR 2018;
Chen et al., "A Closer Look at Few-shot Classification", ICLR 2019 (Baseline++).

The cosine classifier is also what metric learning calls a proxy loss: Movshovitz-Attias et al.,
ICCV 2017, in the form of Zhai and Wu, "Classification is a Strong Baseline for Deep Metric
Learning", BMVC 2019.

Shapes: B clips, D embedding width, C classes.
"""

import math

import torch
from torch import Tensor, nn

from archs.losses import cross_entropy
from archs.prototypes import unit

START_SCALE = 16.0  # of the logits; a cosine alone is too flat for hundreds of classes


class CosineClassifier(nn.Module):
    """Logits are a learned scale times the cosine between an embedding and each class's direction.

    Args:
        embedding_dim: D.
        classes: C.
        weights_C: of the classes in the loss (`archs.losses.class_weights`).
    """

    def __init__(self, embedding_dim: int, classes: int, weights_C: Tensor | None = None) -> None:
        super().__init__()
        self.weights_C = weights_C
        self.weight = nn.Parameter(torch.randn(classes, embedding_dim) / embedding_dim**0.5)
        self.log_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))

    def forward(self, z_BD: Tensor) -> Tensor:
        """``(B, D) -> (B, C)`` in fp32."""
        with torch.autocast(z_BD.device.type, enabled=False):
            return self.log_scale.exp() * (unit(z_BD) @ unit(self.weight).T)

    def loss(self, z_BD: Tensor, class_B: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy over all classes, and the share of clips that are right."""
        logits_BC = self(z_BD)
        loss = cross_entropy(
            logits_BC, class_B, weights_C=self.weights_C, label_smoothing=smoothing
        )
        return loss, (logits_BC.argmax(1) == class_B).float().mean()
