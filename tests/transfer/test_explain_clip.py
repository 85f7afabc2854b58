"""`g5 explain` as it is typed."""

import numpy as np
import soundfile

from tests.conftest import run_g5


def test_the_encoder_that_comes_with_g5_can_be_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    soundfile.write("call.wav", np.random.default_rng(0).normal(0, 0.1, 4000), 16000)
    assert run_g5(["explain", "default", "call.wav", "explain.method=gradients"]) == 0
    assert "figure call_explained.png" in capsys.readouterr().out
    assert (tmp_path / "call_explained.png").is_file()
