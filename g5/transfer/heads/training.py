"""How a shallow head is trained: AdamW, a cosine, early stopping.

Shapes: N examples, B a batch, D embedding width.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from g5.training.fit import fit
from g5.training.stopping import EarlyStopping

# Of an epoch, at least, in batches of at least so many.
STEPS, SMALLEST_BATCH = 8, 8


@dataclass(frozen=True)
class HeadTraining:
    """What `EmbeddingHead` says of its training, under the same names."""

    learning_rate: float
    weight_decay: float
    max_epochs: int
    batch_size: int
    patience: int
    min_delta: float

    def run(
        self,
        module: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        data: tuple[Tensor, Tensor],
        held: tuple[Tensor, Tensor] | None,
        *,
        order: Callable[[int], Tensor],
        length: int,
    ) -> list[dict[str, float]]:
        """Train ``module`` in place; it ends with the weights of the best epoch.

        Args:
            module: trained.
            loss: of embeddings and targets.
            data: embeddings (N, D) and targets to train on.
            held: those that training stops by; None: it stops by the training loss.
            order: number of an epoch -> the examples that it takes.
            length: how many those are.

        Returns:
            Train and validation loss of each epoch.

        Raises:
            UserError: a loss that is not finite.
        """
        x_ND, y = data
        parameters = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters, lr=self.learning_rate, weight_decay=self.weight_decay
        )
        size = min(self.batch_size, max(math.ceil(len(x_ND) / STEPS), SMALLEST_BATCH))
        steps = self.max_epochs * math.ceil(length / size)
        stopping = EarlyStopping(
            module, monitor="loss", mode="min", patience=self.patience, min_delta=self.min_delta
        )
        history: list[dict[str, float]] = []
        for mean in fit(
            lambda rows: loss(x_ND[rows], y[rows]),
            lambda epoch: order(epoch).split(size),
            optimizer,
            epochs=range(self.max_epochs),
            module=module,
            schedule=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
            rate_name=f"learning_rate={self.learning_rate:g}",
        ):
            entry = {"train": mean}
            if held is not None:
                module.eval()
                with torch.no_grad():
                    entry["val"] = loss(*held).item()
            history.append(entry)
            if stopping.update({"loss": entry.get("val", mean)}):
                break
        stopping.restore()
        return history
