"""One call seeds everything, and deterministic runs are equal to the last bit."""

import random

import numpy as np
import pytest
import torch

from g5.common.seeds import seed_all
from g5.tracking.checkpoints import load
from tests.conftest import run_train


@pytest.fixture(autouse=True)
def flags():
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.deterministic = before[1]


def draws():
    numbers = [random.random(), np.random.rand(), torch.rand(1).item()]
    if torch.cuda.is_available():
        numbers += [
            torch.rand(1, device=f"cuda:{i}").item() for i in range(torch.cuda.device_count())
        ]
    return numbers


@pytest.mark.parametrize("deterministic", [True, False])
def test_every_generator_is_seeded_and_flags_are_set(deterministic, monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    seed_all(5, deterministic=deterministic)
    first = draws()
    assert seeded[-1:] == [5]
    seed_all(5, deterministic=deterministic)
    assert draws() == first
    seed_all(6, deterministic=deterministic)
    assert all(a != b for a, b in zip(draws(), first, strict=True))
    assert torch.backends.cudnn.deterministic is deterministic
    assert torch.backends.cudnn.benchmark is False
    assert torch.are_deterministic_algorithms_enabled() is deterministic


def test_deterministic_runs_are_bitwise_equal_and_say_what_it_costs(place, capsys):
    states, answers = [], []
    for name in ("one", "two"):
        run_train(["arch=v2", "debug=fast", "logger=none", "deterministic=true",
                   f"exp_name={name}", "arch.episodes.test_episodes=5",
                   "arch.training.max_epochs=1"])  # fmt: skip
        folder = place / "outputs" / "protonet_baseline" / name
        states.append(load(folder / "checkpoints" / "last.ckpt")["state_dict"])
        answers.append((folder / "test_predictions.parquet").read_bytes())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert answers[0] == answers[1]
    assert "a training step takes" in capsys.readouterr().out
