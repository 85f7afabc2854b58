"""From prototypes to scores, and what may be learnt from the shots before they are used.

`head` trains a linear head on the embeddings, the shots against the negatives; all else scores by
the model's own distance, `finetune` with an encoder that has been trained before.

Shapes: N windows, D embedding width, C negative prototypes, P windows of shots, G negatives.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archs.protonet import ProtoNet
from g5.training.fit import StepBudget, fit, seeded

# Standard deviation of the noise on embeddings in training, as a share of their own.
NOISE = 0.3


@dataclass(frozen=True)
class WindowScorer:
    """Scores the embeddings of windows.

    Attributes:
        positive_D: the species' prototype.
        negative_CD: negative prototypes.
        model: its ``prototype_logits`` compare.
        head: a trained network ``(N, D) -> (N, 1)`` that scores instead; None: the prototypes.
    """

    positive_D: Tensor
    negative_CD: Tensor
    model: ProtoNet
    head: nn.Module | None = None

    @torch.inference_mode()
    def score(self, z_ND: Tensor) -> Tensor:
        """Log-odds of the species against all negatives together, (N,)."""
        if self.head is not None:
            return self.head(z_ND)[:, 0]
        proto = torch.cat([self.positive_D[None], self.negative_CD])
        logits = self.model.prototype_logits(
            proto.to(_device(self.model)), z_ND.to(_device(self.model))
        )
        logits = logits.cpu()
        return logits[:, 0] - torch.logsumexp(logits[:, 1:], dim=1)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def adapted(
    kind: str,
    model: ProtoNet,
    positive_D: Tensor,
    negative_CD: Tensor,
    shots_PD: Tensor,
    negatives_GD: Tensor,
    *,
    steps: StepBudget,
    rate: float,
    seed: int,
) -> WindowScorer:
    """What scores, after what ``kind`` says has been learnt."""
    if kind != "head":
        return WindowScorer(positive_D, negative_CD, model)
    head = _trained(
        shots_PD, negatives_GD, positive_D, negative_CD, steps=steps, rate=rate, seed=seed
    )
    return WindowScorer(positive_D, negative_CD, model, head)


class _Head(nn.Module):
    """Standardise, and a linear layer that starts between the two means."""

    def __init__(self, x_ND: Tensor, positive_D: Tensor, negative_D: Tensor) -> None:
        super().__init__()
        self.mean_D = x_ND.mean(dim=0)
        self.scale = x_ND.std(dim=0).mean().clamp(min=1e-6)
        self.linear = nn.Linear(x_ND.shape[1], 1)
        with torch.no_grad():
            a, b = self._standard(positive_D), self._standard(negative_D)
            weight = (a - b) / (a - b).square().sum().clamp(min=1e-6) * 4
            self.linear.weight.copy_(weight[None])
            self.linear.bias.copy_(-((a + b) / 2 @ weight)[None])

    def _standard(self, z_ND: Tensor) -> Tensor:
        return (z_ND - self.mean_D) / self.scale

    def forward(self, z_ND: Tensor) -> Tensor:
        return self.linear(self._standard(z_ND))


def _trained(
    shots_PD: Tensor, negatives_GD: Tensor, positive_D: Tensor, negative_CD: Tensor, *,
    steps: StepBudget, rate: float, seed: int,
) -> nn.Module:  # fmt: skip
    """A head on the shots against the negatives: both sides weigh the same."""
    with seeded(seed), torch.inference_mode(False), torch.enable_grad():
        x_ND = torch.cat([shots_PD, negatives_GD]).clone()
        target_N = torch.cat([torch.ones(len(shots_PD)), torch.zeros(len(negatives_GD))])
        weight_N = torch.where(
            target_N > 0, 0.5 / max(len(shots_PD), 1), 0.5 / max(len(negatives_GD), 1)
        )
        mean_D = negative_CD.mean(dim=0)
        head = _Head(x_ND, positive_D.clone(), mean_D.clone())
        optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.01)
        spread = NOISE * x_ND.std(dim=0)

        def loss_of(_: int) -> Tensor:
            logit_N = head(x_ND + spread * torch.randn_like(x_ND))[:, 0]
            return F.binary_cross_entropy_with_logits(logit_N, target_N, weight_N, reduction="sum")

        next(fit(loss_of, lambda _: steps, optimizer, rate_name="detection.adapt_rate"))
    return head.eval()
