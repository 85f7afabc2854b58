"""Decoding: every format and width, any block size, resampling, and what is refused."""

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from g5.common.errors import UserError
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = 0.1 * rng.standard_normal((samples, channels))
    return x[:, 0] if channels == 1 else x


def joined(path: Path, block_s: float, rate_hz: int | None = None) -> np.ndarray:
    return np.concatenate(list(audio.blocks(path, READ_ALL, block_s=block_s, rate_hz=rate_hz)))


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-23),
     ("FLOAT", 2**-23), ("DOUBLE", 2**-23)],
)  # fmt: skip
def test_wav_of_every_width(tmp_path: Path, subtype: str, step: float):
    x = noise(8000)
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype=subtype)
    y = audio.read(tmp_path / "a.wav", READ_ALL)
    assert y.dtype == np.float32
    assert len(y) == 8000
    np.testing.assert_allclose(y, x, atol=step)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("a.flac", 2**-15), ("a.ogg", 0.02), ("a.mp3", 0.02)]
)
def test_compressed_formats(tmp_path: Path, name: str, tolerance: float):
    t = np.arange(3 * 22050) / 22050
    x = 0.5 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(tmp_path / name, x, 22050)
    header = audio.info(tmp_path / name)
    assert (header.rate_hz, header.channels, header.frames) == (22050, 1, len(x))
    y = joined(tmp_path / name, 0.7)
    assert len(y) == len(x)
    np.testing.assert_allclose(y[2000:-2000], x[2000:-2000], atol=tolerance)


def test_rates_have_limits(tmp_path: Path):
    rules = replace(READ_ALL, min_rate_hz=50, max_rate_hz=1_000_000)
    for rate_hz in (4, 2_000_000_000):
        data = b"\1\0" * 100
        head = struct.pack("<IHHIIHH", 16, 1, 1, rate_hz, 2 * rate_hz % 2**32, 2, 16)
        wav = b"WAVEfmt " + head + b"data" + struct.pack("<I", len(data)) + data
        (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(wav)) + wav)
        with pytest.raises(UserError, match=rf"a\.wav: says that it has {rate_hz:,} samples"):
            audio.info(tmp_path / "a.wav", rules)
    soundfile.write(tmp_path / "slow.wav", noise(1000), 50)
    assert audio.info(tmp_path / "slow.wav", rules).rate_hz == 50


@pytest.mark.parametrize("channels", [2, 3])
def test_channels_are_averaged(tmp_path: Path, channels: int):
    x = noise(9000, channels)
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype="FLOAT")
    assert audio.info(tmp_path / "a.wav").channels == channels
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav", READ_ALL), x.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate_hz", [None, 22050, 96000])
@pytest.mark.parametrize("block_s", [0.0131, 1.0, 100.0])
def test_samples_do_not_depend_on_the_block(tmp_path: Path, block_s: float, rate_hz: int | None):
    # Longer than what is decoded at once, so that resampler state crosses a seam.
    soundfile.write(tmp_path / "a.wav", noise(3 * 65536 + 123, 2), 44100)
    whole = audio.read(tmp_path / "a.wav", READ_ALL, rate_hz=rate_hz)
    parts = list(audio.blocks(tmp_path / "a.wav", READ_ALL, block_s=block_s, rate_hz=rate_hz))
    size = round(block_s * (rate_hz or 44100))
    assert all(len(part) == size for part in parts[:-1])
    assert 0 < len(parts[-1]) <= size
    assert all(part.flags.c_contiguous and part.dtype == np.float32 for part in parts)
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("source_hz", [8000, 16000, 48000])
def test_resampling_is_soxr_over_the_whole_file(tmp_path: Path, source_hz: int):
    x = noise(source_hz * 10 + 77).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", x, source_hz, subtype="FLOAT")
    whole = soxr.resample(x, source_hz, 22050, quality="HQ")
    np.testing.assert_allclose(joined(tmp_path / "a.wav", 3.0, 22050), whole, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [None, 22050, 8000])
@pytest.mark.parametrize("start_s", [0.0, 0.3171, 5.1])
def test_a_stretch_is_the_slice_of_the_whole(tmp_path: Path, rate_hz: int | None, start_s: float):
    soundfile.write(tmp_path / "a.wav", noise(44100 * 7), 44100)
    rate = rate_hz or 44100
    whole = audio.read(tmp_path / "a.wav", READ_ALL, rate_hz=rate_hz)
    first, stop = round(start_s * rate), round((start_s + 1.1) * rate)
    part = audio.read(
        tmp_path / "a.wav", READ_ALL, start_s=start_s, end_s=start_s + 1.1, rate_hz=rate_hz
    )
    np.testing.assert_allclose(part, whole[first:stop], atol=1e-6)
    rest = audio.read(tmp_path / "a.wav", READ_ALL, start_s=start_s, rate_hz=rate_hz)
    np.testing.assert_allclose(rest, whole[first:], atol=1e-6)


def test_past_the_end_there_is_nothing(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", noise(8000), 8000)
    assert len(audio.read(tmp_path / "a.wav", READ_ALL, start_s=2.0, end_s=3.0)) == 0
    assert len(audio.read(tmp_path / "a.wav", READ_ALL, start_s=0.5, end_s=3.0)) == 4000


def test_content_hash(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert audio.content_hash(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_truncated_wav_is_read_to_its_end(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", noise(8000), 8000)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: 44 + 6000])
    head = audio.info(tmp_path / "a.wav")
    assert (head.frames, head.fault) == (3000, "end early")
    assert "promises 10,000 bytes more than there are" in head.note
    assert len(joined(tmp_path / "a.wav", 1.0)) == 3000


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_not_known_when_written_is_no_truncation(tmp_path: Path, size: int):
    soundfile.write(tmp_path / "a.wav", noise(8000), 8000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(data)
    assert audio.info(tmp_path / "a.wav").frames == 8000


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("rate_hz", [None, 22050])
def test_nan_and_infinite_samples_are_refused(tmp_path: Path, value: float, rate_hz: int | None):
    x = noise(8000 * 12, 2)
    x[8000 * 10 + 4000, 1] = value
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"a\.wav: has NaN or infinite .* at 10\.500 s"):
        joined(tmp_path / "a.wav", 1.0, rate_hz)


def test_loud_float_samples_are_no_nan(tmp_path: Path):
    x = np.full(100_000, 1e36, dtype=np.float32)  # their sum is no float32
    x[::2] *= 0.9
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype="FLOAT")
    assert np.array_equal(joined(tmp_path / "a.wav", 1.0), x)


def test_what_is_no_sound_is_refused(tmp_path: Path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no sound")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 8000)
    wanted = {"folder": "is a folder", "empty": "it is empty", "text": "cannot be read",
              "none": "no samples", "absent": "no such file"}  # fmt: skip
    for name, message in wanted.items():
        with pytest.raises(UserError, match=rf"{name}\.wav: .*{message}"):
            audio.info(tmp_path / f"{name}.wav")
