"""`g5 test` on data with a time axis: event scores beside episode accuracy."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tests.conftest import run_g5

RATE = 22050


def write_set(root: Path, names: str) -> None:
    """Recordings with eight calls of one class each, on quiet noise."""
    rng = np.random.default_rng(len(names))
    for k, name in enumerate(names):
        folder = root / ("HB" if k % 2 else "PB")
        folder.mkdir(parents=True, exist_ok=True)
        samples = 0.01 * rng.standard_normal(10 * RATE)
        onsets = 0.5 + 1.1 * np.arange(8)
        times = np.arange(int(0.3 * RATE)) / RATE
        for on in onsets:
            start = int(on * RATE)
            samples[start : start + len(times)] += 0.3 * np.sin(2 * np.pi * 600 * (k + 2) * times)
        soundfile.write(folder / f"{name}.wav", samples, RATE)
        table = pd.DataFrame({"Audiofilename": f"{name}.wav", "Starttime": onsets})
        table.assign(Endtime=onsets + 0.3, Q="POS").to_csv(folder / f"{name}.csv", index=False)


def test_event_scores_beside_episode_accuracy(trained, capsys):
    checkpoint = trained("v1") / "checkpoints" / "best_checkpoint.ckpt"
    write_set(Path("eval"), "abcd")
    silent = Path("eval/PB/c.wav")
    soundfile.write(silent, np.zeros(10 * RATE), RATE)
    assert run_g5(["test", str(checkpoint), "data=dcase", "path.train_dir=null",
                   "path.eval_dir=eval", "arch.episodes.n_way=2", "arch.episodes.k_shot=1",
                   "arch.episodes.n_query=2", "arch.episodes.test_episodes=20",
                   "logger=mlflow"]) == 0  # fmt: skip
    out, error = capsys.readouterr()
    assert "events in 3 recordings of 2 subsets, mode fair" in out
    assert f"left out of the event scores: {silent.absolute()}: is silent" in error
    assert "looks only above" not in out, "the oracle knows what lower thresholds would find"
    (file,) = Path("outputs").glob("*/v1_debug/test-*/event_scores.json")
    scores = json.loads(file.read_text())
    assert set(scores["subsets"]) == {"HB", "PB"}
    for counts in scores["files"].values():
        assert counts["tp"] + counts["fn"] == 3  # eight calls less the support
    assert file.with_name("events.csv").exists()
    with sqlite3.connect("mlflow.db") as records:
        logged = dict(records.execute("select key, value from metrics").fetchall())
    assert logged["test/event_f"] == pytest.approx(scores["overall"]["fmeasure"], abs=1e-5)
