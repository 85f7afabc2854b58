"""Of WAVs of all kinds, right and wrong, exactly the samples are read."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from g5.common.errors import UserError
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL
from preprocessing.containers import wav_layout
from tests.preprocessing.wav_files import made_wav

HOW_MANY = int(os.environ.get("G5_WAV_FILES", "500"))


def test_wavs_of_all_kinds_are_read_right(tmp_path: Path):
    path = tmp_path / "a.wav"
    for seed in range(HOW_MANY):
        wav = made_wav(np.random.default_rng(seed))
        path.write_bytes(wav.content)
        told = f"{seed}: {wav.how}"
        head = audio.info(path)
        assert head.frames == len(wav.samples_TC), told
        assert bool(head.note) == wav.wrong, f"{told}: {head.note}"
        np.testing.assert_allclose(
            audio.read(path, READ_ALL), wav.samples_TC.mean(axis=1), atol=1e-6, err_msg=told
        )


def test_what_wraps_at_4_gib_is_read_to_its_end(tmp_path: Path):
    path, more = tmp_path / "night.wav", 1 << 32
    soundfile.write(path, np.full(8000, 0.25), 8000, subtype="PCM_16")
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size + more)  # a hole, which takes no place
    assert audio.info(path).frames == 8000 + more // 2
    assert "too few" in audio.info(path).note


def test_a_recorder_that_stopped_leaves_the_sizes_of_an_empty_file(tmp_path: Path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(8000, 0.25), 8000, subtype="PCM_16")
    content = path.read_bytes()
    path.write_bytes(content[:4] + struct.pack("<I", 36) + content[8:40] + bytes(4) + content[44:])
    assert audio.info(path).frames == 8000


def test_samples_that_are_no_plain_numbers_are_left_to_libsndfile(tmp_path: Path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(8000, 0.25), 8000, subtype="MS_ADPCM")
    layout = wav_layout(path)
    assert layout is not None
    assert not layout.raw
    assert audio.info(path).frames >= 8000


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
def test_half_an_ogg_is_told_of(tmp_path: Path, kind: str):
    path = tmp_path / "a.ogg"
    x = np.random.default_rng(0).normal(0, 0.1, 48000 * 5)
    soundfile.write(path, x, 48000, format="OGG", subtype=kind)
    assert audio.info(path).note == ""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    head = audio.info(path)
    assert head.fault == "end early"
    assert "last page" in head.note
    assert len(audio.read(path, READ_ALL)) == head.frames < len(x)


@pytest.mark.parametrize("suffix", ["aiff", "au", "caf", "w64"])
def test_other_containers_that_are_cut_are_told_of(tmp_path: Path, suffix: str):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    assert audio.info(path).fault == ""
    whole, x = path.read_bytes(), audio.read(path, READ_ALL)
    for lacks in (100, 8000):
        path.write_bytes(whole[:-lacks])
        head = audio.info(path)
        assert head.fault == "end early"
        assert 7990 - lacks / 2 < head.frames <= 8000 - lacks / 2
        assert np.array_equal(audio.read(path, READ_ALL), x[: head.frames])
    path.write_bytes(whole + bytes(5000))
    assert audio.info(path).fault == ""


@pytest.mark.parametrize("suffix", ["au", "snd", "mp3", "wav", "caf"])
def test_text_is_no_sound_whatever_it_is_called(tmp_path: Path, suffix: str):
    path = tmp_path / f"a.{suffix}"
    path.write_text("this is no sound " * 100)
    with pytest.raises(UserError, match=r"cannot be read as sound \(Format not recognised\)"):
        audio.info(path)


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_24", "FLOAT", "ULAW", "ALAC_16"])
@pytest.mark.parametrize("endian", ["BIG", "LITTLE"])
def test_half_a_caf_of_any_samples(tmp_path: Path, subtype: str, endian: str):
    path = tmp_path / "a.caf"
    x_TC = np.random.default_rng(0).normal(0, 0.1, (8000, 2))
    soundfile.write(path, x_TC, 8000, subtype=subtype, endian=endian)
    whole = audio.read(path, READ_ALL)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if subtype == "ALAC_16":  # its index lies at its end
        with pytest.raises(UserError, match="cannot be read as sound"):
            audio.info(path)
        return
    assert audio.info(path).fault == "end early"
    half = audio.read(path, READ_ALL)
    assert 1000 < len(half) < 4100
    assert np.array_equal(half, whole[: len(half)])


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_that_lacks_a_packet_is_told_of(tmp_path: Path, rate_hz: int, channels: int):
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (rate_hz, channels)), rate_hz)
    content, tag = path.read_bytes(), b"ID3\4\0\0\0\0\2\1" + bytes(257)
    for first in (b"", tag, tag + tag):
        path.write_bytes(first + content + b"TAG" + bytes(125))
        assert audio.info(path).fault == ""
        path.write_bytes(first + content[:-100])
        assert audio.info(path).fault == "end early"


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_half_a_compressed_file_is_read_as_far_as_it_goes(tmp_path: Path, suffix: str):
    path = tmp_path / f"a.{suffix}"
    x = np.random.default_rng(0).normal(0, 0.1, 22050 * 5).astype(np.float32)
    soundfile.write(path, x, 22050)
    whole = audio.read(path, READ_ALL)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    head = audio.info(path)
    assert head.fault == "end early"
    assert "of 5.000 s" in head.note
    half = audio.read(path, READ_ALL)
    assert len(half) == head.frames
    assert 0.3 * len(x) < len(half) < 0.6 * len(x)
    if suffix == "flac":
        assert np.array_equal(half, whole[: len(half)])
    joined = np.concatenate(list(audio.blocks(path, READ_ALL, block_s=0.7, rate_hz=None)))
    assert np.array_equal(joined, half)
