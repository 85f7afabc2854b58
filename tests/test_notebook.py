"""`g5.detect`, `g5.embed` and `g5.evaluate`: what a notebook gets."""

import subprocess
import sys

import pandas as pd
import pytest

import g5
from tests.conftest import ROOT

NIGHT, SHOTS, TRUTH = (
    str(ROOT / "examples" / name) for name in ("night.ogg", "five_calls.txt", "truth.txt")
)


@pytest.mark.slow
def test_events_are_found_and_scored(place):
    found = g5.detect(NIGHT, SHOTS)
    assert {"file", "start_s", "end_s", "label", "score", "support"} <= set(found.columns)
    assert found["support"].tolist().count(True) == 5
    scores = g5.evaluate(found, TRUTH)
    assert list(scores.index) == ["fair", "official"]
    assert scores["F"].tolist()[0] > 0.7
    # A data frame is support as a table is, and keys are as they are typed.
    shots = found.loc[found["support"], ["start_s", "end_s", "label"]]
    more = g5.detect(NIGHT, shots, "detection.threshold=0.2", out="kept")
    assert len(more) > len(found)
    assert (place / "kept" / "report.html").is_file()


def test_embeddings_and_their_windows(place):
    vectors, windows = g5.embed(NIGHT, "embed.hop_s=10", encoder="handcrafted")
    assert len(vectors) == len(windows) == 12
    assert list(windows.columns) == ["file", "start_s", "end_s"]
    assert windows["start_s"].tolist() == [10.0 * i for i in range(12)]


def test_what_is_wrong_is_one_error_or_a_warning(place):
    with pytest.raises(g5.UserError, match=r"nix\.wav: there is no such recording"):
        g5.detect("nix.wav", SHOTS)
    with pytest.raises(g5.UserError, match="did you mean"):
        g5.detect(NIGHT, SHOTS, "detection.treshold=0.3")
    other = pd.DataFrame({"file": ["day.wav"], "start_s": 1.0, "end_s": 2.0, "label": ["a"]})
    with pytest.warns(UserWarning, match="no ground truth for day"):
        g5.evaluate(other, TRUTH)


def test_nothing_heavy_is_imported_before_it_is_asked_for():
    heavy = "('torch', 'pandas', 'numpy', 'hydra')"
    code = f"import sys, g5; assert not [name for name in {heavy} if name in sys.modules]"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    with pytest.raises(AttributeError, match="nothing"):
        g5.nothing  # noqa: B018
