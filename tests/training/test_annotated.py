"""Training on folders whose calls are marked in Audacity's and BirdNET's tables."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import run_g5, run_train

RATE_HZ = 22050
ONSETS_S = 0.4 + 0.8 * np.arange(5)


def audacity(folder: Path, name: str, label: str) -> None:
    rows = [f"{on:g}\t{on + 0.3:g}\t{label}\n" for on in ONSETS_S]
    (folder / f"{name}.txt").write_text("".join(rows))


def birdnet(folder: Path, name: str, label: str) -> None:
    rows = [f"{on:g},{on + 0.3:g},Avis {label},{label},0.9,{name}.wav\n" for on in ONSETS_S]
    head = "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
    (folder / f"{name}.BirdNET.results.csv").write_text(head + "".join(rows))


def write_set(folder: Path, labels: str, write) -> None:
    """A recording of each label, five calls in it, and its table."""
    folder.mkdir()
    for number, label in enumerate(labels):
        rng = np.random.default_rng([len(folder.name), number])
        sound = 0.01 * rng.standard_normal(5 * RATE_HZ)
        t = np.arange(int(0.3 * RATE_HZ)) / RATE_HZ
        for on in ONSETS_S:
            start = int(on * RATE_HZ)
            sound[start : start + len(t)] += 0.3 * np.sin(2 * np.pi * 700 * (number + 1) * t)
        soundfile.write(folder / f"{label}1.wav", sound, RATE_HZ)
        write(folder, f"{label}1", label)


@pytest.mark.parametrize(("write", "other"), [(audacity, birdnet), (birdnet, audacity)])
def test_a_folder_of_any_annotation_tables_trains(place, capsys, write, other):
    write_set(place / "train", "abc", write)
    write_set(place / "val", "xyz", other)
    data = ["data=annotated", "path.train_dir=train", "path.eval_dir=val"]
    small = ["arch.episodes.n_way=3", "arch.episodes.k_shot=1", "arch.episodes.n_query=1"]
    assert run_g5(["data", "check", *data, *small]) == 0
    assert "15 calls" in capsys.readouterr().out
    run_train(["arch=v1", "debug=fast", "logger=none", "test=false", "arch.training.max_epochs=1",
               *data, *small])  # fmt: skip
    assert list(Path("outputs").glob("*/v1_debug/checkpoints/best*.ckpt"))
