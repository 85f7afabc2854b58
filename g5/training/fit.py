"""The one training loop beside Lightning; what is fitted, and on what, is the caller's."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from g5.common.errors import UserError


def fit(
    loss_of: Callable[[Any], Tensor],
    batches_of: Callable[[int], Iterable[Any]],
    optimizer: torch.optim.Optimizer,
    *,
    epochs: Iterable[int] = range(1),
    module: nn.Module | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    rate_name: str = "learning_rate",
) -> Iterator[float]:
    """Train, one epoch for each value that is taken from it.

        for loss in fit(loss_of, batches_of, optimizer, epochs=range(60), module=head):
            if stopping.update({"loss": loss}):
                break

    Args:
        loss_of: a batch -> its mean loss.
        batches_of: number of an epoch -> its batches.
        optimizer: of what is trained; it may get more groups between two epochs.
        epochs: their numbers.
        module: in training mode in every epoch, also if it was evaluated in between.
        schedule: of the learning rate, which moves after every step.
        rate_name: the setting to lower where the loss is not finite.

    Yields:
        The mean loss of each epoch, every batch weighted by its length if it has one.

    Raises:
        UserError: a loss is not finite.
    """
    for epoch in epochs:
        if module is not None:
            module.train()
        total, count = 0.0, 0
        for batch in batches_of(epoch):
            loss = loss_of(batch)
            value = loss.item()
            if not torch.isfinite(loss):
                raise UserError(f"the loss is {value:g} in epoch {epoch + 1}; lower {rate_name}")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            weight = len(batch) if hasattr(batch, "__len__") else 1
            total, count = total + value * weight, count + weight
        yield total / max(count, 1)


def weight_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What of a module is trained, as an optimiser takes it; norms and biases are not decayed."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """PyTorch's random numbers of the CPU come from ``seed`` inside, and go on afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
