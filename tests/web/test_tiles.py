"""Spectrogram tiles and audio snippets."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from g5.common.errors import UserError
from g5.web.axis import FrequencyAxis, ticks_s
from g5.web.tiles import (
    LEVELS,
    Mark,
    audible_slow_down,
    audio_snippet,
    spectrogram_tile,
)
from preprocessing.audio_rules import READ_ALL


def tone(path, rate_hz: int, hz: float, seconds: float = 1.0, channels: int = 1):
    """A tone in the middle half of a file, in a little noise."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    inside = (t > seconds / 4) & (t < 3 * seconds / 4)
    x = 0.1 * np.sin(2 * np.pi * hz * t) * inside
    x += np.random.default_rng(0).normal(0, 1e-3, len(t))
    soundfile.write(path, np.repeat(x[:, None], channels, axis=1), rate_hz)
    return path


def pixels(png: bytes) -> np.ndarray:
    """(H, W) levels of loudness."""
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize("rate_hz", [4_000, 22_050, 96_000, 500_000])
def test_tone_is_where_it_belongs(tmp_path, rate_hz):
    path = tone(tmp_path / "tone.wav", rate_hz, rate_hz / 8, channels=2)
    png = spectrogram_tile(path, READ_ALL, 0, 1)
    level_HW = pixels(png)
    assert level_HW.shape == (112, 256)
    assert len(png) < 12_000
    loud = np.argwhere(level_HW == LEVELS - 1)
    # An eighth of the rate is a quarter of the way up.
    assert np.median(loud[:, 0]) == pytest.approx(0.75 * 112, abs=2)
    assert loud[:, 1].min() == pytest.approx(64, abs=8)
    assert loud[:, 1].max() == pytest.approx(192, abs=8)


def test_band_and_marks(tmp_path):
    path = tone(tmp_path / "tone.wav", 16_000, 3000)
    mark = Mark(0.5, 0.75, 2000, 4000)
    level_HW = pixels(
        spectrogram_tile(path, READ_ALL, 0.25, 1.0, low_hz=1000, high_hz=5000, marks=[mark])
    )
    rows, columns = np.nonzero(level_HW == LEVELS)
    assert (rows.min(), rows.max()) == (28, 84)
    assert (columns.min(), columns.max()) == pytest.approx((85, 170), abs=1)
    # A mark that begins before the tile is open on that side, one outside is not drawn.
    level_HW = pixels(spectrogram_tile(path, READ_ALL, 0.25, 1, marks=[Mark(0, 0.5), Mark(2, 3)]))
    assert (level_HW[:, 0] == LEVELS).sum() == 2
    assert (level_HW[:, 85] == LEVELS).all()


def test_tile_past_the_ends_is_dark_there(tmp_path):
    path = tone(tmp_path / "tone.wav", 8_000, 1000)
    level_HW = pixels(spectrogram_tile(path, READ_ALL, -1, 3))
    assert level_HW[:, :60].max() == 0
    assert level_HW[:, 64:128].max() == LEVELS - 1
    assert level_HW[:, 132:].max() == 0


def test_silence_and_stretches_shorter_than_a_window(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(100), 8000)
    assert pixels(spectrogram_tile(tmp_path / "silence.wav", READ_ALL, 0, 1)).max() == 0
    assert pixels(spectrogram_tile(tmp_path / "silence.wav", READ_ALL, 0, 1e-5)).max() == 0
    assert audio_snippet(tmp_path / "silence.wav", READ_ALL, 0, 1)
    assert audio_snippet(tmp_path / "silence.wav", READ_ALL, 0, 1e-5)


@pytest.mark.parametrize("rate_hz", [4_000, 44_100, 384_000])
def test_snippet_plays_what_was_there(tmp_path, rate_hz):
    path = tone(tmp_path / "tone.wav", rate_hz, 1000, channels=2)
    data = audio_snippet(path, READ_ALL, 0.3, 0.7)
    assert len(data) < 12_000
    x_T, played_hz = soundfile.read(io.BytesIO(data))
    assert x_T.ndim == 1
    assert len(x_T) / played_hz == pytest.approx(0.4, abs=0.06)
    assert np.abs(x_T).max() == pytest.approx(0.9, abs=0.1)
    peak_hz = np.abs(np.fft.rfft(x_T)).argmax() * played_hz / len(x_T)
    assert peak_hz == pytest.approx(1000, abs=10)


def test_snippet_keeps_its_level_when_asked(tmp_path):
    path = tone(tmp_path / "tone.wav", 16_000, 1000)
    x_T, _ = soundfile.read(io.BytesIO(audio_snippet(path, READ_ALL, 0.3, 0.7, normalise=False)))
    assert np.abs(x_T).max() == pytest.approx(0.1, abs=0.02)


def test_ultrasound_is_slowed_down(tmp_path):
    path = tone(tmp_path / "bat.wav", 256_000, 40_000, seconds=0.4)
    factor = audible_slow_down(40_000)
    assert factor == 4
    assert audible_slow_down(5_000) == 1
    x_T, rate_hz = soundfile.read(
        io.BytesIO(audio_snippet(path, READ_ALL, 0, 0.4, slow_down=factor))
    )
    assert len(x_T) / rate_hz == pytest.approx(1.6, abs=0.06)
    assert np.abs(np.fft.rfft(x_T)).argmax() * rate_hz / len(x_T) == pytest.approx(10_000, rel=0.01)


def test_bad_stretches_are_one_clear_line(tmp_path):
    path = tone(tmp_path / "tone.wav", 8_000, 1000)
    for start_s, end_s in ((1, 1), (0.5, 0.2), (float("nan"), 1)):
        with pytest.raises(UserError, match="no stretch of time"):
            spectrogram_tile(path, READ_ALL, start_s, end_s)
    for make in (spectrogram_tile, audio_snippet):
        with pytest.raises(UserError, match=r"lies outside the recording, which has 1\.000 s"):
            make(path, READ_ALL, 1.5, 2)
        with pytest.raises(UserError, match="there is no such file"):
            make(tmp_path / "none.wav", READ_ALL, 0, 1)
    with pytest.raises(UserError, match="no band of a recording of 8,000 Hz"):
        spectrogram_tile(path, READ_ALL, 0, 1, low_hz=5000)


def test_a_bent_axis_gives_low_frequencies_more_room(tmp_path):
    path = tone(tmp_path / "tone.wav", 16_000, 1000)
    axis = FrequencyAxis(0, 8000, bent=True)
    level_HW = pixels(spectrogram_tile(path, READ_ALL, 0, 1, bent=True))
    loud = np.argwhere(level_HW == LEVELS - 1)
    assert np.median(loud[:, 0]) == pytest.approx(112 * (1 - axis.share(1000)), abs=3)
    assert axis.share(1000) > 2 * FrequencyAxis(0, 8000, bent=False).share(1000)


@pytest.mark.parametrize("bent", [True, False])
@pytest.mark.parametrize("high_hz", [1000, 8000, 11_025, 250_000])
def test_ticks_are_round_and_apart(bent, high_hz):
    axis = FrequencyAxis(0, high_hz, bent=bent)
    np.testing.assert_allclose([axis.share(hz) for hz in axis.edges_hz(4)], np.linspace(0, 1, 5))
    ticks = axis.ticks_hz()
    assert 3 <= len(ticks) <= 7
    assert all(0 < hz <= high_hz and f"{hz:.0e}"[0] in "125" for hz in ticks)
    assert (np.diff([1.12, *(axis.share(hz) for hz in ticks), 0]) <= -0.12).all()


@pytest.mark.parametrize("seconds", [0.013, 0.4, 1.5, 3, 60, 600])
def test_times_along_a_tile(seconds):
    ticks = ticks_s(seconds)
    assert 2 <= len(ticks) <= 5
    assert ticks[-1] <= seconds * 1.001
