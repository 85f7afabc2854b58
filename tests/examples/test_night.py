"""The example night is what its script makes."""

import re

import numpy as np
import pandas as pd
import pytest
import soundfile

from examples.make_night import SHOTS, make_night
from preprocessing.annotations import read_events
from tests.conftest import ROOT, run_g5

HOME = ROOT / "examples"


def test_the_night_is_made_by_its_script(tmp_path):
    make_night(tmp_path)
    for name in ("five_calls", "truth", "others"):
        made, there = (read_events(place / f"{name}.txt")[0] for place in (tmp_path, HOME))
        pd.testing.assert_frame_equal(
            made.drop(columns=["file"]), there.drop(columns=["file"]), atol=1e-4, rtol=0
        )
    (made, rate), (there, _) = (soundfile.read(place / "night.ogg") for place in (tmp_path, HOME))
    assert len(made) == len(there) == 120 * rate
    # Another libsndfile may code it otherwise.
    assert np.abs(made - there).mean() < 0.1 * np.abs(there).mean()


def test_it_fits_a_clone_and_is_no_toy():
    assert (HOME / "night.ogg").stat().st_size < 1_000_000
    assert (HOME / "night.png").stat().st_size < 200_000
    truth, others = (read_events(HOME / name)[0] for name in ("truth.txt", "others.txt"))
    assert len(truth) > 3 * SHOTS
    assert len(set(others["label"])) > 1
    assert len(others) > len(truth)
    shots = read_events(HOME / "five_calls.txt")[0]
    assert shots["start_s"].tolist() == truth["start_s"].tolist()[:SHOTS]


@pytest.mark.slow
def test_most_of_it_is_found(place, capsys):
    night, shots, truth = (
        str(HOME / name) for name in ("night.ogg", "five_calls.txt", "truth.txt")
    )
    assert run_g5(["detect", "default", night, "--support", shots]) == 0
    assert run_g5(["evaluate", "found/predictions.csv", truth]) == 0
    out = capsys.readouterr().out
    measured = re.findall(r"fair +([\d.]+)% +([\d.]+)% +([\d.]+)%", out)[0]
    assert float(measured[2]) > 70
    # What the README says of it, but for what another processor rounds otherwise.
    readme = " ".join((ROOT / "README.md").read_text().split())
    found, false = re.findall(r"finds (\d+) of the other 18, and (\d+) things", readme)[0]
    scores = re.findall(r"precision is (\d+) %, recall (\d+) %, F (\d+) %", readme)[0]
    assert int(re.findall(r"(\d+) found", out)[0]) == pytest.approx(int(found), abs=1)
    assert int(re.findall(r"false calls +(\d+)", out)[0]) == pytest.approx(int(false), abs=2)
    assert [float(x) for x in measured] == pytest.approx([float(x) for x in scores], abs=6)
