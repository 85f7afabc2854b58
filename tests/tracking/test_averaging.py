"""The average of the weights: what it is, where it stands in for them, and that it resumes."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from g5.tracking.averaging import LIVE, AveragedWeights
from g5.tracking.checkpoints import load
from tests.tracking.test_callbacks import Toy, assert_same, fit


class Witness(pl.Callback):
    """Keeps the model's weights after every step, and those of every validation."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.steps.append(weights_of(pl_module))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *parts: Any) -> None:
        self.steps.append(weights_of(pl_module))

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.validated.append(weights_of(pl_module))


def weights_of(module: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.model.state_dict().items()}


def test_the_average_is_validated_and_kept_and_training_goes_on_without_it(tmp_path: Path):
    plain, averaged = Witness(), Witness()
    fit(tmp_path / "plain", extra=[plain])
    fit(tmp_path / "averaged", extra=[AveragedWeights(decay=0.5), averaged])
    assert_same(plain.steps, averaged.steps)
    expected = plain.steps[0]
    for step, weights in enumerate(plain.steps[1:], start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = {
            name: decay * expected[name] + (1 - decay) * value
            if value.is_floating_point() else value
            for name, value in weights.items()
        }  # fmt: skip
    content = load(tmp_path / "averaged" / "last.ckpt")
    for name, value in expected.items():
        torch.testing.assert_close(content["state_dict"]["model." + name], value)
        torch.testing.assert_close(averaged.validated[-1][name], value)
        torch.testing.assert_close(content[LIVE]["model." + name], plain.steps[-1][name])


def test_it_resumes_exactly(tmp_path: Path):
    fit(tmp_path / "whole", Toy("none"), extra=[AveragedWeights(decay=0.9)])
    fit(tmp_path / "parts", Toy("none"), extra=[AveragedWeights(decay=0.9)], epochs=1)
    fit(tmp_path / "parts", Toy("none"), extra=[AveragedWeights(decay=0.9)], resume=True)
    whole, parts = (load(tmp_path / name / "last.ckpt") for name in ("whole", "parts"))
    assert_same(whole["state_dict"], parts["state_dict"])
    assert_same(whole[LIVE], parts[LIVE])
