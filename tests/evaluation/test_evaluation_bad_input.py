"""What a test and a comparison make of bad input: a clear line each, through the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import run_g5

RUN = Path("outputs/protonet_baseline/v1_debug")
BEST = RUN / "checkpoints" / "best_checkpoint.ckpt"
CLASSES = 6


@pytest.fixture
def clips(place, trained) -> Path:
    """A trained run, and `clips.csv`: six classes for each split, five clips and sources each."""
    trained("v1")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(3 * CLASSES):
        split = ("train", "val", "test")[number // CLASSES]
        for k in range(5):
            t = np.arange(8000) / 16000
            wave = 0.3 * np.sin(2 * np.pi * (500 + 200 * number + 10 * k) * t) * np.hanning(8000)
            name = f"c{number:02d}_{k}.wav"
            soundfile.write(place / name, wave + 0.01 * rng.normal(size=8000), 16000)
            rows.append((name, f"c{number:02d}", f"{split}{k}", split))
    write(rows)
    return place


def write(rows: list[tuple[str, ...]]) -> None:
    lines = [",".join(row) for row in [("file", "label", "source", "split"), *rows]]
    Path("clips.csv").write_text("\n".join(lines) + "\n")


def listed() -> list[tuple[str, ...]]:
    return [tuple(line.split(",")) for line in Path("clips.csv").read_text().split("\n")[1:-1]]


def on_clips(*more: str) -> int:
    data = ("data=clips", "path.train_dir=clips.csv", "logger=none")
    return run_g5(["test", str(BEST), *data, *more])


def test_a_class_with_one_clip(clips, capsys):
    write([row for row in listed() if row[1] != "c13" or row[0].endswith("_0.wav")])
    assert on_clips() == 0
    out = capsys.readouterr().out
    assert "1 of 6 classes have fewer than 4 calls (k_shot + n_query) and are left out: c13" in out
    assert on_clips("arch.episodes.n_way=6") == 1
    assert "error: " in (error := capsys.readouterr().err)
    assert "5 classes" in error
    assert run_g5(["data", "split", "clips.csv", "-o", "made.csv"]) == 0
    out = capsys.readouterr().out
    assert "warning: class 'c13' is missing from val and test: it has 1 clip" in out


def test_all_clips_of_a_class_from_one_source(clips, capsys):
    write([(*row[:2], "test0" if row[1] == "c14" else row[2], row[3]) for row in listed()])
    assert on_clips() == 0
    out = capsys.readouterr().out
    assert "in 1 of 6 classes support and query may come from one recording" in out
    assert "✓ sources disjoint but for 1 classes that cannot" in out
    assert run_g5(["data", "split", "clips.csv", "--by", "source", "-o", "made.csv"]) == 0
    assert "class 'c14' is missing from" in (out := capsys.readouterr().out)
    assert "all of one source" in out


def test_no_test_set(clips, capsys):
    write([row for row in listed() if row[3] != "test"])
    for command in ("test", "shots"):
        data = ("data=clips", "path.train_dir=clips.csv", "logger=none")
        assert run_g5([command, str(BEST), *data]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: the test split has no calls")
        assert "g5 data check" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arch", "key"),
    [("v1", "model.encoder"), ("v2", "model.encoder")],
)
def test_nan(trained, capsys, arch, key):
    best = trained(arch) / "checkpoints" / "best_checkpoint.ckpt"
    content = torch.load(best, weights_only=True)
    name = next(n for n in content["state_dict"] if key in n and n.endswith("weight"))
    content["state_dict"][name].fill_(torch.nan)
    torch.save(content, "bad.ckpt")
    for command in ("test", "shots"):
        assert run_g5([command, "bad.ckpt", "logger=none"]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert f"bad.ckpt: its weights are not finite ({name})" in error
        assert error.count("\n") == 1


def test_runs_of_other_protocols_are_not_compared(clips, capsys):
    assert on_clips() == 0
    assert on_clips("arch.episodes.k_shot=1") == 0
    (home, other) = sorted(
        RUN.glob("test-*"),
        key=lambda path: -json.loads((path / "test_scores.json").read_text())["protocol"]["k_shot"],
    )
    capsys.readouterr()
    assert run_g5(["compare", str(home), str(other)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "cannot be paired: k_shot is 2 and 1; test both alike" in error


def test_an_mlflow_run_without_artifacts(clips, capsys):
    from mlflow import MlflowClient

    assert on_clips() == 0
    (home,) = RUN.glob("test-*")
    client = MlflowClient(f"sqlite:///{clips}/mlflow.db")
    empty = client.create_run("0", run_name="empty").info.run_id
    capsys.readouterr()
    for name in (empty, "empty"):
        assert run_g5(["compare", name, str(home)]) == 1
        assert "has no artifacts: it was not tested" in capsys.readouterr().err
