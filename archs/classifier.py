"""What teaches pretraining: a direction for each training class, or clips of one class alike.

Sources: Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting", CVPR 2018;
Chen et al., "A Closer Look at Few-shot Classification", ICLR 2019 (Baseline++); Khosla et al.,
"Supervised Contrastive Learning", NeurIPS 2020.

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
START_CONTRAST = 10.0  # of the contrastive loss: a temperature of 0.1, as in the paper


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


class SupervisedContrast(nn.Module):
    """Each clip is to be nearest to the clips of its class (Khosla et al. 2020, ``L_out``).

    What we changed: the temperature is learned. A clip that is alone in its class asks nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(START_CONTRAST)))

    def loss(
        self, z_BD: Tensor, class_B: Tensor, smoothing: float, *, twin_B: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The mean over clips with a companion, and how many of these have one nearest.

        Args:
            smoothing: share of the target that is spread over all other clips.
            twin_B: clips of one number are too alike to teach: they are not compared.
        """
        with torch.autocast(z_BD.device.type, enabled=False):
            u_BD = unit(z_BD)
            itself_B = torch.arange(len(u_BD), device=u_BD.device) if twin_B is None else twin_B
            itself_BB = itself_B[:, None] == itself_B
            logits_BB = (self.log_scale.exp() * (u_BD @ u_BD.T)).masked_fill(itself_BB, -torch.inf)
            same_BB = (class_B[:, None] == class_B) & ~itself_BB
            paired_B = same_BB.any(dim=1)
            others = (~itself_BB).sum(1, keepdim=True)
            target_BB = same_BB.float() / same_BB.sum(1, keepdim=True).clamp(min=1)
            target_BB = (1 - smoothing) * target_BB + smoothing / others
            log_p_BB = logits_BB.log_softmax(dim=1).masked_fill(itself_BB, 0.0)
            loss_B = -(target_BB * log_p_BB).sum(dim=1)
            right_B = same_BB.gather(1, logits_BB.argmax(1, keepdim=True)).squeeze(1)
            return loss_B[paired_B].mean(), right_B[paired_B].float().mean()
