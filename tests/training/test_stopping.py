"""Early stopping for plain loops: when it stops, and which weights come back."""

import math

import pytest
import torch
from torch import nn

from g5.training.stopping import EarlyStopping


def play(scores: list[float], **settings) -> tuple[EarlyStopping, nn.BatchNorm1d, int]:
    """Feed scores to a module whose weight is the number of the epoch; epochs until the stop."""
    module = nn.BatchNorm1d(1)
    settings = {"monitor": "val/loss", "mode": "min", "patience": 2, "min_delta": 0.0} | settings
    stopping = EarlyStopping(module, **settings)
    for epoch, score in enumerate(scores, 1):
        with torch.no_grad():
            module.weight.fill_(epoch)
            assert module.running_mean is not None
            module.running_mean.fill_(epoch)
        if stopping.update({settings["monitor"]: score, "other": 0.0}):
            return stopping, module, epoch
    return stopping, module, len(scores) + 1


def test_stops_after_patience_and_restores_weights_and_buffers():
    stopping, module, stopped = play([3, 2, 2.5, 2.0, 1.0])
    assert (stopped, stopping.best_epoch, stopping.best_score) == (4, 2, 2.0)
    stopping.restore()
    assert module.weight.item() == 2
    assert module.running_mean is not None
    assert module.running_mean.item() == 2


def test_small_gains_do_not_renew_patience_but_are_the_best():
    stopping, module, stopped = play([3.0, 2.95, 2.9], min_delta=0.2)
    assert (stopped, stopping.best_epoch) == (3, 3)
    stopping.restore()
    assert module.weight.item() == 3
    # Small gains add up.
    assert play([3.0, 2.85, 2.7, 2.55, 2.4], min_delta=0.2)[2] == 6


def test_max_and_nan():
    stopping, _, stopped = play([0.5, math.nan, math.nan], mode="max", monitor="val/acc")
    assert (stopped, stopping.best_epoch) == (3, 1)
    stopping, module, stopped = play([math.nan, math.inf])
    assert (stopped, stopping.best_score) == (2, None)
    stopping.restore()
    assert module.weight.item() == 2


def test_what_cannot_be_is_an_error():
    with pytest.raises(KeyError, match="val/acc"):
        play([1.0])[0].update({"val/acc": 1.0})
    for wrong in ({"patience": 0}, {"min_delta": -1}, {"mode": "up"}):
        with pytest.raises(ValueError, match="must be"):
            play([1.0], **wrong)
