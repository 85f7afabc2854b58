"""Digital silence: found in frames and samples, and not heard by encoders."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from g5.embeddings.vectors import load
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL
from preprocessing.episodes.clips import ClipReader
from preprocessing.frontend import LogMel
from preprocessing.holds import without_holds
from preprocessing.silence import silent_frames, silent_samples, sounding
from tests.conftest import run_g5

RATE_HZ = 8000


def test_runs_of_zeros_are_found_as_a_loop_finds_them():
    rng = np.random.default_rng(0)
    for size in range(1, 120):
        x_S = rng.choice([0.0, 1.0], size, p=[0.7, 0.3])
        expected, at = np.zeros(size, bool), 0
        while at < size:
            end = at
            while end < size and x_S[end] == 0:
                end += 1
            expected[at:end] = end - at >= 5
            at = max(end, at + 1)
        assert silent_samples(torch.from_numpy(x_S), 100).tolist() == expected.tolist()


@pytest.mark.parametrize("value", [0.0, -1 / 32768, 0.5, 1.0])
def test_what_is_held_at_one_value_is_zeros(value: float):
    """As a loop over the whole does it, whatever parts it comes in."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        x_S = rng.choice([-0.1, 0.0, 0.1], 3000)
        begin, length = rng.integers(0, 2600), rng.choice([200, 399, 400, 401, 900])
        x_S[begin : begin + length] = value
        x_S[begin + length : begin + length + 1] = 0.2
        if begin:
            x_S[begin - 1] = 0.2
        x_S = x_S.astype(np.float32)
        expected = x_S.copy()
        if len(x_S[begin : begin + length]) >= 400:
            expected[begin : begin + length] = 0
        cuts = np.sort(rng.integers(0, 3000, 4))
        np.testing.assert_array_equal(
            np.concatenate([*without_holds(np.split(x_S, cuts), 8000)]), expected
        )


def test_a_recorder_that_repeats_its_last_value_bends_no_statistics(tmp_path: Path):
    x_S = 0.01 * np.random.default_rng(0).standard_normal(20 * 22050)
    tables = []
    for value in (0.0, -1 / 32768, 17 / 32768, 0.5):
        x_S[5 * 22050 : 10 * 22050] = value
        soundfile.write(tmp_path / "a.wav", x_S, 22050)
        tables.append(audio.read(tmp_path / "a.wav", READ_ALL, rate_hz=16000))
    for held in tables[1:]:
        np.testing.assert_array_equal(held, tables[0])


def test_frames_of_zeros_are_those_of_the_front_end():
    front_end = LogMel(
        sr=RATE_HZ, n_fft=256, hop_mel=128, n_mels=16, fmin=50, fmax=4000, floor_db=-80
    )
    wave = 0.1 * torch.randn(8000)
    wave[2000:5000] = 0
    stream = front_end.stream()
    x_MT = torch.cat([stream.push(wave), stream.finish()], dim=1)
    silent_T = silent_frames(x_MT.T.half())
    assert (
        silent_T.tolist()
        == front_end.silent(torch.nn.functional.pad(wave, (128, 128)), x_MT.shape[1]).tolist()
    )
    assert 15 < int(silent_T.sum()) < 25
    assert not bool(silent_frames(torch.zeros(4, 1)).any())  # one band is always like itself


class OneRecording:
    """Features in memory."""

    def __init__(self, features_TM: torch.Tensor) -> None:
        self.features = features_TM
        self.meta = pd.DataFrame({"key": ["r"], "mean": [0.0], "std": [1.0]})

    def get(self, key: str) -> torch.Tensor:
        return self.features


def test_what_sounds_of_a_clip_is_repeated():
    features = torch.arange(20)[:, None] + torch.tensor([0.0, 100.0, 200.0])
    features[10:] = -80
    events = pd.DataFrame({"sha256": ["r"], "file": ["r"], "start_s": [0.85], "end_s": [0.95]})
    reader = ClipReader(
        OneRecording(features.half()), events, frame_rate_hz=10, clip="fixed", clip_s=0.6,
        min_clip_s=0.1, max_clip_s=1, anchor="centre",
    )  # fmt: skip
    x_MT = reader.gather(np.array([0]), 6)[0][0, 0]
    assert x_MT[0].tolist() == [7, 8, 9, 7, 8, 9]
    assert sounding(torch.arange(5), torch.tensor([1, 0, 1, 1, 0]).bool()).tolist() == [
        1,
        4,
        1,
        4,
        1,
    ]


@pytest.mark.parametrize("encoder", ["handcrafted", "mel_cnn"])
def test_windows_of_zeros_have_no_embedding(tmp_path: Path, monkeypatch, capsys, encoder: str):
    """A gap leaves out its windows alone; what is partly silent is as what sounds of it."""
    monkeypatch.chdir(tmp_path)
    wave = 0.1 * np.random.default_rng(0).standard_normal(7 * 22050)
    wave[round(2.5 * 22050) : round(5.5 * 22050)] = 0
    soundfile.write("rec.wav", wave, 22050)
    soundfile.write("zeros.wav", np.zeros(3 * 22050), 22050)
    assert run_g5(["embed", encoder, "rec.wav", "zeros.wav", "-o", "a.store"]) == 1
    assert "zeros.wav: is digital silence from end to end" in capsys.readouterr().out
    vectors, index = load("a.store")
    assert set(index["file"]) == {"rec.wav"}
    starts = index["start_s"].to_numpy()
    ends = index["end_s"].to_numpy()
    assert not ((starts >= 2.5) & (ends <= 5.5)).any()
    assert ((starts < 2.5) & (ends > 2.5)).any()
    assert np.isfinite(np.asarray(vectors)).all()
