"""The loop that trains a shallow head: AdamW, a cosine, early stopping.

Shapes: N examples, B a batch, D embedding width.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from g5.common.errors import UserError
from g5.training.stopping import EarlyStopping

if TYPE_CHECKING:
    from g5.transfer.heads.estimator import EmbeddingHead

# Of an epoch, at least, in batches of at least so many.
STEPS, SMALLEST_BATCH = 8, 8
Loss = Callable[[Tensor, Tensor], Tensor]


def train(
    head: "EmbeddingHead",
    loss: Loss,
    data: tuple[Tensor, Tensor],
    held: tuple[Tensor, Tensor] | None,
) -> list[dict[str, float]]:
    """Train ``head.module_`` in place; it ends with the weights of the best epoch.

    Args:
        head: its settings.
        loss: of outputs and targets.
        data: embeddings (N, D) and targets to train on.
        held: those that training stops by; None: it stops by the training loss.

    Returns:
        Train and validation loss of each epoch.

    Raises:
        UserError: outputs of another shape, or a loss that is not finite.
    """
    module, (x_ND, y) = head.module_, data
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=head.learning_rate, weight_decay=head.weight_decay)
    size = min(head.batch_size, max(math.ceil(len(x_ND) / STEPS), SMALLEST_BATCH))
    length = len(x_ND) if head.sampling == "none" else len(head.epoch_order(y, 0))
    steps = head.max_epochs * math.ceil(length / size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    stopping = EarlyStopping(
        module, monitor="loss", mode="min", patience=head.patience, min_delta=head.min_delta
    )
    history: list[dict[str, float]] = []
    for epoch in range(head.max_epochs):
        module.train()
        total = 0.0
        for rows in head.epoch_order(y, epoch).split(size):
            value = _loss_of(head, loss, x_ND[rows], y[rows], epoch)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            schedule.step()
            total += value.item() * len(rows)
        entry = {"train": total / length}
        if held is not None:
            module.eval()
            with torch.no_grad():
                entry["val"] = loss(module(held[0]), held[1]).item()
        history.append(entry)
        if stopping.update({"loss": entry.get("val", entry["train"])}):
            break
    stopping.restore()
    return history


def _loss_of(head: "EmbeddingHead", loss: Loss, x_BD: Tensor, y: Tensor, epoch: int) -> Tensor:
    out = head.module_(x_BD)
    wanted = (len(x_BD), head.n_outputs_)
    if out.shape != wanted:
        raise UserError(
            f"{head.network}: gives {tuple(out.shape)} for {len(x_BD)} embeddings, where "
            f"{wanted} is needed"
        )
    value = loss(out, y)
    if not torch.isfinite(value):
        raise UserError(
            f"the loss is {value.item():g} in epoch {epoch + 1}; lower learning_rate="
            f"{head.learning_rate:g}"
        )
    return value
