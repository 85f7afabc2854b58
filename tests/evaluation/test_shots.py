"""The shot curve: nested support, each clip embedded once, shots that cannot be are left out."""

import json

import pytest
import torch

from g5.evaluation.episodes.shots import shot_accuracies
from preprocessing.normalize import Normalize
from tests.conftest import run_g5
from tests.evaluation.test_protocol import N_MELS, World, make_model


def curve(world, model):
    normalize = Normalize(mode="none", n_mels=N_MELS)
    parts = world.tested(model, normalize=normalize, episodes=40)
    return shot_accuracies("ours", *parts, device=torch.device("cpu"))


def test_more_shots_help_and_each_clip_is_embedded_once():
    world, model = World(sources=6, calls=4), make_model()
    found = curve(world, model)
    episode = 4 * (20 + 2)  # the check of the model takes one twice, and a part of it again
    seen = model.encoder.seen
    assert isinstance(seen, int)
    assert found.n_clips <= seen <= found.n_clips + 3 * episode
    ours = found.table[found.table["name"] == "ours"]
    assert ours["k_shot"].tolist() == [1, 2, 5, 10, 20]
    accuracy = ours["accuracy"].tolist()
    assert accuracy[-1] > accuracy[0]
    assert set(found.table["name"]) == {"ours", "raw features, z-scored + L2"}
    assert not any("left out" in note for note in found.notes)
    assert len(found.checks) == 5


@pytest.mark.parametrize(
    ("sources", "calls", "shots", "reason"),
    [
        (6, 3, [1, 2, 5, 10], "20 shots are left out: fewer than 4 test classes have 22 calls"),
        (2, 6, [1, 2, 5], "10 and 20 shots are left out: support and query would have to share"),
        (1, 4, [1, 2], "5, 10 and 20 shots are left out: fewer than 4 test classes have 7 calls"),
    ],
)
def test_shots_beyond_the_data_are_left_out_with_a_note(sources, calls, shots, reason):
    found = curve(World(sources=sources, calls=calls), make_model())
    assert found.table["k_shot"].unique().tolist() == shots
    assert any(reason in note for note in found.notes), found.notes


@pytest.mark.usefixtures("drawn_figures")
def test_the_command(trained, capsys):
    folder = trained("v1")
    best = str(folder / "checkpoints" / "best_checkpoint.ckpt")
    capsys.readouterr()
    assert run_g5(["shots", best, "logger=none"]) == 0
    out = capsys.readouterr().out
    assert "1 shot " in out
    assert "✓ support and query disjoint" in out
    written = json.loads((folder / "shots.json").read_text())
    assert written["table"][0]["k_shot"] == 1
    assert (folder / "figures" / "shots.png").stat().st_size > 1000
    assert run_g5(["shots", best, "logger=none", "arch.episodes.n_way=50"]) == 1
    assert "arch.episodes.n_way=50" in capsys.readouterr().err
