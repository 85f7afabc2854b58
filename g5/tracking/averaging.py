"""An exponential moving average of the weights: what is validated, kept and tested in its place.

Source: Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017 (the average is
the model that answers; its decay is smaller in the first steps).

Lightning's own callback copies the whole module, and with it the data set that our checkpoints
speak of; this one copies the model's weights and nothing else.
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import Module

PREFIX = "model."  # of the model's weights in a checkpoint
LIVE = "live_weights"  # in a checkpoint: the weights that training goes on with


class AveragedWeights(pl.Callback):
    """Averages the model's weights and buffers after each step, and puts them in their place.

    Args:
        decay: share of the average that a step leaves as it was, from 0 to below 1; in the first
            steps it is at most ``(1 + step) / (10 + step)``.
    """

    def __init__(self, *, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._live: dict[str, Tensor] = {}
        self._step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        weights = self.average or _copy(_model(pl_module))
        self.average = {name: value.to(pl_module.device) for name, value in weights.items()}
        self._step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *parts: Any
    ) -> None:
        if trainer.global_step == self._step:
            return  # gradients of several episodes make one step
        self._step = trainer.global_step
        decay = min(self.decay, (1 + self._step) / (10 + self._step))
        for name, value in _model(pl_module).state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.average:
            self._live = _copy(_model(pl_module))
            _model(pl_module).load_state_dict(self.average)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._live:
            _model(pl_module).load_state_dict(self._live)
            self._live = {}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        assert not self._live, "saved in the middle of a validation"
        state = checkpoint["state_dict"]
        checkpoint[LIVE] = {PREFIX + name: state[PREFIX + name] for name in self.average}
        state.update({PREFIX + name: value for name, value in self.average.items()})

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Lightning has loaded the average by now; training goes on with the weights beside it."""
        state, live = checkpoint["state_dict"], checkpoint[LIVE]
        self.average = {name.removeprefix(PREFIX): state[name].clone() for name in live}
        pl_module.load_state_dict({**state, **live})


def _model(module: pl.LightningModule) -> Module:
    assert isinstance(module.model, Module)
    return module.model


def _copy(model: Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
