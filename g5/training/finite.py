"""A loss that is no number stops the training at its step, and says where it began."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from g5.common.errors import UserError
from g5.tracking.checkpoints import latest
from g5.training.module import FewShotModule


class StopAtNaN(pl.Callback):
    """Raises `UserError` at the first loss that is NaN or infinite, before it reaches the weights.

    Args:
        checkpoints: the run's folder of them: the last good one is named.
    """

    def __init__(self, *, checkpoints: Path) -> None:
        self.checkpoints = checkpoints
        self._batch: Any = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._batch = batch, batch_idx

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        if torch.isfinite(loss):
            return
        assert isinstance(pl_module, FewShotModule)
        where = _first_layer(trainer, pl_module, *self._batch)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        good = latest(self.checkpoints)
        raise UserError(
            f"the loss is {loss.item()} at step {self._batch[1] + 1} of epoch "
            f"{trainer.current_epoch + 1}; it began in {where}. The last good checkpoint is "
            f"{good or '(none yet)'}. Lower arch.training.learning_rate (it is {rate:.2g}) or "
            "arch.training.gradient_clip_val, or train with trainer.precision=32-true"
        )


def _first_layer(trainer: pl.Trainer, module: FewShotModule, batch: Any, batch_idx: int) -> str:
    """The layer whose weights, or else whose output, are the first that are not finite."""
    if not batch.x.isfinite().all():
        return "the features of its clips"
    for name, value in module.named_parameters():
        if not value.isfinite().all():
            return f"the weights {name}, which the step before made so"
    with _watched(module) as found, torch.no_grad():
        # The step is repeated: its randomness comes from a seed that the module sets.
        module.on_train_batch_start(batch, batch_idx)
        with trainer.precision_plugin.forward_context():
            module.loss(batch)
    return found[0] if found else "the loss itself"


@contextmanager
def _watched(module: nn.Module) -> Iterator[list[str]]:
    """The layers whose output is not finite, in the order in which they work."""
    found: list[str] = []

    def hook_of(name: str, kind: str) -> Any:
        def look(_part: nn.Module, _given: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                found.append(f"{name} ({kind})")

        return look

    hooks = [
        part.register_forward_hook(hook_of(name, type(part).__name__))
        for name, part in module.named_modules()
        if not any(True for _ in part.children())
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
