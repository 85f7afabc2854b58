"""Trainings that go astray: wrong arithmetic is found before, a loss that is no number at once."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from archs.v1.arch import ConvEncoder
from g5.common.errors import UserError
from g5.training import arithmetic
from g5.training.arithmetic import faults, trusted_precision
from g5.training.module import FewShotModule
from preprocessing.episodes.episode import EpisodeBatch
from tests.conftest import run_train

FAST = ("arch=v1", "debug=fast", "trainer.precision=32-true", "test=false")
RUN = Path("outputs/protonet_baseline/v1_debug")
CPU = torch.device("cpu")


def test_right_arithmetic_is_trusted(capsys):
    assert list(faults(CPU, torch.bfloat16)) == []
    assert trusted_precision("bf16-mixed", CPU) == "bf16-mixed"
    assert trusted_precision("32-true", CPU) == "32-true"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("wrong", [math.nan, 0.5])
def test_wrong_arithmetic_is_named_and_fp32_taken(monkeypatch, capsys, wrong: float):
    right = torch.nn.functional.conv2d

    def conv2d(x: torch.Tensor, w: torch.Tensor, **keywords: Any) -> torch.Tensor:
        y = right(x, w, **keywords)
        bad = x.dtype == torch.bfloat16 and x.shape[-1] == 5 and keywords["stride"] == 2
        return y * wrong if bad else y

    monkeypatch.setattr(arithmetic.F, "conv2d", conv2d)
    assert trusted_precision("bf16-mixed", CPU) == "32-true"
    said = capsys.readouterr().out
    assert "convolution of 5 frames, stride 2, is wrong" in said
    assert said.count("\n") == 1


def _nan(_part: nn.Module, _given: Any, output: torch.Tensor) -> torch.Tensor:
    return output * math.nan


def ruin(monkeypatch, step: int, what: str) -> None:
    """From the training's ``step`` on, a layer's output or its weights are not finite."""
    right, steps = FewShotModule.on_train_batch_start, []

    def started(self: FewShotModule, batch: EpisodeBatch, batch_idx: int) -> None:
        right(self, batch, batch_idx)
        steps.append(batch_idx)
        if len(steps) < step:
            return
        encoder = self.model.encoder
        assert isinstance(encoder, ConvEncoder)
        if what == "output":
            encoder.blocks[4].register_forward_hook(_nan)
        else:
            encoder.blocks[5].get_parameter("weight").data.fill_(math.nan)

    monkeypatch.setattr(FewShotModule, "on_train_batch_start", started)


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("output", r"model\.encoder\.blocks\.4 \(Dropout2d\)"),
        ("weights", r"weights model\.encoder\.blocks\.5\.weight"),
    ],
)
def test_a_loss_that_is_no_number_stops_at_its_step(place, monkeypatch, what: str, named: str):
    from mlflow import MlflowClient

    ruin(monkeypatch, 6, what)
    with pytest.raises(UserError, match=rf"loss is nan at step 2 of epoch 2; .*{named}") as stop:
        run_train([*FAST])
    assert str(place / RUN / "checkpoints" / "last.ckpt") in str(stop.value)
    assert "learning_rate" in str(stop.value)
    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'debug'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"


def test_weights_that_are_not_finite_are_not_taken(place):
    run_train([*FAST, "logger=none", "arch.training.max_epochs=1", "arch.training.scheduler=none"])
    checkpoints = place / RUN / "checkpoints"
    for name in ("last.ckpt", "epoch_001"):
        (path,) = checkpoints.glob(f"{name}*")
        content = torch.load(path, weights_only=True)
        content["state_dict"]["model.encoder.blocks.0.weight"][0] = math.inf
        path.unlink()
        torch.save(content, path)
    with pytest.raises(UserError, match=r"not finite \(model\.encoder\.blocks\.0\.weight\)"):
        run_train(
            [*FAST, "logger=none", "resume=true", "arch.training.max_epochs=2",
             "arch.training.scheduler=none"]
        )  # fmt: skip
    ruined = f"arch.training.load_weight_from={checkpoints / 'last.ckpt'}"
    with pytest.raises(UserError, match="not finite"):
        run_train([*FAST, "logger=none", ruined, "exp_name=another"])
