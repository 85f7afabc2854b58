"""A training in float64, whose numbers do not hide what two processes do otherwise than one."""

import sys
from dataclasses import replace
from typing import Any

import torch

import archs.train
from g5.runs.train import Training
from g5.training.module import FewShotModule

torch.set_default_dtype(torch.float64)
make, step = FewShotModule.__init__, FewShotModule.episode_loss


def in_float64(self: FewShotModule, *args: Any, **kwargs: Any) -> None:
    make(self, *args, **kwargs)
    self.double()


def episode_loss(self: FewShotModule, batch: Any) -> Any:
    stats = None if batch.stats is None else batch.stats.double()
    return step(self, replace(batch, x=batch.x.double(), stats=stats))


FewShotModule.__init__, FewShotModule.episode_loss = in_float64, episode_loss

# Of the temperature afterwards nothing is asked.
Training._calibrate = lambda self, *args: None  # pyright: ignore[reportAttributeAccessIssue]
# What the second process is started with.
archs.train.__file__ = __file__

if __name__ == "__main__":
    archs.train.launch(sys.argv[1:])
