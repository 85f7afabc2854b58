"""Two processes train as one with twice the episodes a step, and go on as one."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from g5.tracking.checkpoints import LAST
from tests.conftest import ROOT
from tests.training.test_train import FAST, RUN, weights

SCRIPT = Path(__file__).with_name("train_float64.py")
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.threads=1")
ONE = ("trainer=cpu", "trainer.threads=1")
STEEP = (
    "arch=v1", *FAST, "test=false", "arch.training.optimizer=sgd", "arch.training.momentum=0",
    "arch.training.scheduler=none", "arch.training.learning_rate=0.05", "arch.model.channels=[4,8]",
)  # fmt: skip


def train(*overrides: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *STEEP, *overrides], text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def history(name: str) -> list[dict[str, str]]:
    with (RUN / name / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def last(name: str) -> dict[str, torch.Tensor]:
    learned = weights(RUN / name / "checkpoints" / LAST)
    # What batch norm counts and gathers beside training is that of the first process.
    own = ("running_mean", "running_var", "num_batches_tracked")
    return {key: value for key, value in learned.items() if not key.endswith(own)}


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_episodes(place) -> None:
    train(*TWO, "exp_name=two", "arch.training.max_epochs=1")
    train(*ONE, "exp_name=one", "arch.training.max_epochs=1", "arch.episodes.episodes_per_batch=2")
    (two,), (one,) = history("two"), history("one")
    for name in ("train/loss", "train/acc"):
        assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-5)
    ours, theirs = last("two"), last("one")
    assert ours.keys() == theirs.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-5, atol=1e-8)
    # And it goes on as one process.
    train(*ONE, "exp_name=two", "arch.training.max_epochs=2", "resume=true")
    assert [row["epoch"] for row in history("two")] == ["1", "2"]
