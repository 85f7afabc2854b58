"""Early stopping for plain training loops; Lightning runs have `callbacks.early_stopping`."""

import copy
import math
from collections.abc import Mapping
from typing import Literal

from torch import nn


class EarlyStopping:
    """Says when to stop, and gives the best weights back.

        stopping = EarlyStopping(head, monitor="val/loss", mode="min", patience=5, min_delta=0.0)
        for epoch in range(max_epochs):
            ...
            if stopping.update({"val/loss": loss}):
                break
        stopping.restore()

    Args:
        module: whose weights and buffers are kept at their best.
        monitor: the metric that decides.
        mode: ``"min"`` or ``"max"``.
        patience: updates without gain after which to stop; at least 1.
        min_delta: a gain that is not larger than this does not renew the patience. The best
            weights are those of the best score all the same.

    Attributes:
        best_score: None before the first finite score.
        best_epoch: the update that brought it, counted from 1; 0 before.
        epoch: updates so far.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        monitor: str,
        mode: Literal["min", "max"],
        patience: int,
        min_delta: float,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode={mode!r}: must be min or max")
        if patience < 1 or not min_delta >= 0:
            raise ValueError(
                f"patience={patience}, min_delta={min_delta}: must be at least 1 and at least 0"
            )
        self.module = module
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.best_score: float | None = None
        self.best_epoch = 0
        self.epoch = 0
        self._sign = 1 if mode == "max" else -1
        self._reference = -math.inf
        self._waited = 0
        self._best: dict | None = None

    def update(self, metrics: Mapping[str, float]) -> bool:
        """Take note of an epoch; True when it is time to stop. A score of NaN is no gain.

        Raises:
            KeyError: ``metrics`` lacks the monitored one.
        """
        if self.monitor not in metrics:
            raise KeyError(f"there is no metric {self.monitor!r} among {', '.join(metrics)}")
        self.epoch += 1
        score = float(metrics[self.monitor])
        value = self._sign * score
        finite = math.isfinite(value)
        if finite and (self.best_score is None or value > self._sign * self.best_score):
            self.best_score, self.best_epoch = score, self.epoch
            self._best = copy.deepcopy(self.module.state_dict())
        if finite and value > self._reference + self.min_delta:
            self._reference, self._waited = value, 0
        else:
            self._waited += 1
        return self._waited >= self.patience

    def restore(self) -> None:
        """Load the best weights into the module; without a finite score the last ones stay."""
        if self._best is not None:
            self.module.load_state_dict(self._best)
