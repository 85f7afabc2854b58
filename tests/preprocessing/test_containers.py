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
from preprocessing.containers.riff import wav_layout
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
    x_TC = np.random.default_rng(0).normal(0, 0.1, (20000, 2))
    soundfile.write(path, x_TC, 8000, subtype=subtype, endian=endian)
    whole = audio.read(path, READ_ALL)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert audio.info(path).fault == "end early"
    half = audio.read(path, READ_ALL)
    assert 7000 < len(half) < 10100
    assert len(half) == audio.info(path).frames
    assert np.array_equal(half, whole[: len(half)])


def test_half_an_alac_whose_table_came_last_is_refused(tmp_path: Path):
    path = tmp_path / "a.caf"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 20000), 8000, subtype="ALAC_16")
    content = path.read_bytes()
    at, data = content.index(b"pakt"), content.index(b"data")
    path.write_bytes((content[:at] + content[data:])[:-5000])
    with pytest.raises(UserError, match="its table of packets, which comes last, is missing"):
        audio.info(path)


def no_length(path: Path, seconds: int = 5, rate_hz: int = 22050, channels: int = 1) -> bytes:
    """An MP3 whose first packet, which says its length, is gone."""
    x_TC = np.random.default_rng(0).normal(0, 0.1, (seconds * rate_hz, channels))
    soundfile.write(path, x_TC, rate_hz)
    content = path.read_bytes()
    return content[content.index(content[:2], 2) :]


@pytest.mark.parametrize("rate_hz", [8000, 22050, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("before", [b"", b"ID3\4\0\0\0\0\2\1" + bytes(257), b"noise" * 20])
def test_an_mp3_without_a_length_is_read_to_its_end(
    tmp_path: Path, rate_hz: int, channels: int, before: bytes
):
    path = tmp_path / "a.mp3"
    content = before + no_length(path, 5, rate_hz, channels)
    for after in (b"", b"TAG" + bytes(125), bytes(5000)):
        path.write_bytes(content + after)
        head = audio.info(path)
        assert (head.fault, "promises no length" in head.note) == ("", True)
        assert 5 <= head.duration_s < 5.3  # its encoder's delay and filling are not known
        assert len(audio.read(path, READ_ALL)) == head.frames
        tail = audio.read(path, READ_ALL, start_s=4)
        assert tail.std() == pytest.approx(0.1 / channels**0.5, rel=0.3)
    path.write_bytes(content[: len(content) // 2])
    head = audio.info(path)
    assert head.fault == "end early"
    assert 2 < head.duration_s < 3
    assert len(audio.read(path, READ_ALL)) == head.frames


def test_two_mp3_in_one_are_read_to_the_end(tmp_path: Path):
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 22050 * 3), 22050)
    path.write_bytes(path.read_bytes() * 2)
    head = audio.info(path)
    assert head.fault == "have a header with a wrong length"
    assert 6 <= head.duration_s < 6.3
    assert len(audio.read(path, READ_ALL)) == head.frames


@pytest.mark.parametrize("wrong", [bytes(600), b"noise" * 120, b"", bytes(20000)])
@pytest.mark.parametrize("first", ["said", "unsaid"])
def test_what_follows_a_gap_in_an_mp3_keeps_its_time(tmp_path: Path, wrong: bytes, first: str):
    path, rate_hz = tmp_path / "a.mp3", 22050
    x = np.random.default_rng(0).normal(0, 0.1, rate_hz * 20)
    x[rate_hz * 17 :] = 0
    soundfile.write(path, x, rate_hz)
    content = path.read_bytes()
    if first == "unsaid":
        content = content[content.index(content[:2], 2) :]
    path.write_bytes(content)
    frames, at = audio.info(path).frames, len(content) // 2
    path.write_bytes(content[:at] + wrong + content[at + max(len(wrong), 1000) :])
    head = audio.info(path)
    assert head.fault == "are damaged inside"
    assert "silence stands for it" in head.note
    whole = audio.read(path, READ_ALL)
    assert abs(len(whole) - frames) <= (0 if first == "said" else rate_hz)
    assert len(whole) == head.frames
    ends_s = np.flatnonzero(np.abs(whole) > 0.02)[-1] / rate_hz
    assert ends_s == pytest.approx(17, abs=0.01 if first == "said" else 1)


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
    assert "of 5.0" in head.note
    half = audio.read(path, READ_ALL)
    assert len(half) == head.frames
    assert 0.3 * len(x) < len(half) < 0.6 * len(x)
    if suffix == "flac":
        assert np.array_equal(half, whole[: len(half)])
    joined = np.concatenate(list(audio.blocks(path, READ_ALL, block_s=0.7, rate_hz=None)))
    assert np.array_equal(joined, half)


@pytest.mark.parametrize(("kind", "rate_hz"), [("VORBIS", 44100), ("OPUS", 48000), ("OPUS", 16000)])
def test_what_follows_a_gap_in_an_ogg_keeps_its_time(tmp_path: Path, kind: str, rate_hz: int):
    path = tmp_path / "a.ogg"
    x = np.random.default_rng(0).normal(0, 0.1, rate_hz * 10) * np.sin(np.arange(rate_hz * 10))
    soundfile.write(path, x, rate_hz, format="OGG", subtype=kind)
    content, whole = path.read_bytes(), audio.read(path, READ_ALL)
    size = len(content) // 5
    for at in (2 * size, len(content) // 3):
        path.write_bytes(content[:at] + bytes(size) + content[at + size :])
        for _ in range(2):  # zeros, and less than there was
            head = audio.info(path)
            assert head.fault == "are damaged inside"
            assert "silence stands for it" in head.note
            found = audio.read(path, READ_ALL)
            assert len(found) == head.frames == len(whole)
            heard = np.flatnonzero(found)
            longest = np.diff(heard).argmax()
            first, last = heard[longest] + 1, heard[longest + 1]
            assert 0.1 < (last - first) / len(x) < 0.5
            from_s = float(head.note.split("from ")[1].split()[0])
            assert from_s == pytest.approx(first / rate_hz, abs=0.01)
            assert np.array_equal(found[:first], whole[:first])
            later = slice(last + rate_hz // 5, -rate_hz // 10)  # Opus has to find its level again
            assert np.allclose(found[later], whole[later], atol=1e-3)
            start_s = 7.3
            stretch = audio.read(path, READ_ALL, start_s=start_s, end_s=8.0)
            begin = round(start_s * rate_hz)
            assert np.allclose(stretch, found[begin : begin + len(stretch)], atol=1e-2)
            path.write_bytes(content[:at] + content[at + size :])


def test_an_ogg_that_loses_its_first_sound_and_later_ones(tmp_path: Path):
    path = tmp_path / "a.ogg"
    x = np.random.default_rng(0).normal(0, 0.1, 441000)
    soundfile.write(path, x, 44100)
    content, whole = bytearray(path.read_bytes()), audio.read(path, READ_ALL)
    pages = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
    for number in (6, 10):
        content[pages[number] + 200] ^= 1
    path.write_bytes(content)
    head = audio.info(path)
    assert head.fault == "are damaged inside"
    assert "in 2 places, the first at 2." in head.note or "the first at 1." in head.note
    found = audio.read(path, READ_ALL)
    assert len(found) == head.frames == len(whole)
    heard = found != 0
    assert 0.7 < heard.mean() < 0.99
    assert np.array_equal(found[heard], whole[heard])
    content[pages[2] + 200] ^= 1
    path.write_bytes(content)
    head = audio.info(path)
    assert "its beginning is missing; times count from what is there" in head.note
    rest = audio.read(path, READ_ALL)
    assert len(rest) == head.frames < len(whole)
    assert np.array_equal(rest, found[-len(rest) :])


def test_a_short_mp3_that_gives_less_than_it_says_is_told_of(tmp_path: Path):
    """Its third packet is none, and two are too few to look for others."""
    path, rng = tmp_path / "a.mp3", np.random.default_rng(0)
    for _ in range(8):
        x_TC = 0.1 * rng.standard_normal((3000, 2))
    soundfile.write(path, x_TC, 8000)
    content = bytearray(path.read_bytes())
    third = content.index(content[:2], 2) + 360
    content[third + 1 : third + 5] = b"RIFF"
    path.write_bytes(content[:1600])
    head = audio.info(path)
    assert head.fault == "end early"
    assert 0 < len(audio.read(path, READ_ALL)) == head.frames < 1000


def test_frames_that_do_not_come_are_told_once(tmp_path: Path, monkeypatch, capsys):
    """Whatever the format: where seeking to the end succeeds, but reading ends before."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 20000), 8000)
    real = audio.decoded
    monkeypatch.setattr(
        audio, "decoded", lambda sound, *rest: real(sound, *rest)[: max(0, 9000 - sound.tell())]
    )
    monkeypatch.setattr(audio, "_CHUNK", 1000)
    for _ in range(2):
        assert len(audio.read(path, READ_ALL)) < 20000
    assert capsys.readouterr().err.count("s of 2.500 s; read so far") == 1


def streams(home: Path, kind: str, *tones: tuple[float, int]) -> tuple[list[bytes], np.ndarray]:
    """Oggs of a second each, and their sound, one after another; given pitches and channels."""
    seconds = np.arange(16000) / 16000
    sounds = [np.sin(2 * np.pi * pitch * seconds) * seconds / 3 for pitch, _ in tones]
    parts = []
    for number, (x, (_, channels)) in enumerate(zip(sounds, tones, strict=True)):
        path = home / f"part{number}.ogg"
        soundfile.write(path, np.repeat(x[:, None], channels, 1), 16000, format="OGG", subtype=kind)
        parts.append(path.read_bytes())
    return parts, np.concatenate(sounds)


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
def test_oggs_one_after_another_are_read_to_the_last(tmp_path: Path, kind: str):
    path = tmp_path / "stream.ogg"
    parts, expected = streams(tmp_path, kind, (400, 1), (900, 1), (600, 1))
    path.write_bytes(b"".join(parts))
    head = audio.info(path)
    x_T = audio.read(path, READ_ALL)
    assert (head.frames, head.fault, head.note) == (48000, "", "")
    assert np.corrcoef(x_T, expected)[0, 1] > 0.99
    stretch = audio.read(path, READ_ALL, start_s=1.25, end_s=2.75)
    np.testing.assert_allclose(stretch, x_T[20000:44000], atol=1e-5)
    assert len(audio.read(path, READ_ALL, start_s=3.5)) == 0


def test_an_ogg_of_two_kinds_of_sound_is_told_of(tmp_path: Path):
    path = tmp_path / "stream.ogg"
    parts, _ = streams(tmp_path, "VORBIS", (400, 1), (900, 2), (600, 1))
    path.write_bytes(b"".join(parts))
    head = audio.info(path)
    assert head.frames == len(audio.read(path, READ_ALL)) == 32000
    assert head.fault
    assert "3 recordings one after another; 1 left out" in head.note
    path.write_bytes(parts[0] + parts[2][:200])
    assert audio.info(path).frames == 16000
    assert audio.info(path).note


@pytest.mark.parametrize(("said", "word"), [(0, "no length"), (9000, "too little")])
@pytest.mark.parametrize("frames", [30_000, 700, 4096])
def test_a_flac_that_does_not_know_its_length(tmp_path: Path, said: int, word: str, frames: int):
    path = tmp_path / "a.flac"
    x_T = np.random.default_rng(0).uniform(-0.5, 0.5, frames)
    soundfile.write(path, x_T, 16000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[21:26] = bytes([content[21] & 0xF0]) + struct.pack(">I", min(said, frames // 2))
    path.write_bytes(content + b"TAG" + bytes(125))
    head = audio.info(path)
    assert head.frames == frames
    assert word in head.note
    np.testing.assert_allclose(audio.read(path, READ_ALL), x_T, atol=1e-4)


def test_an_odd_header_of_a_wav_is_read_right_or_refused(tmp_path: Path):
    """As libsndfile reads it, by its bits where a frame has too few bytes for them."""
    path, whole = tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 2))
    soundfile.write(path, whole, 16000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:32] + struct.pack("<H", 2) + content[34:])
    np.testing.assert_allclose(audio.read(path, READ_ALL), whole.mean(axis=1), atol=1e-4)
    for at, what in ((24, struct.pack("<I", 2**31)), (22, b"\xff\xff"), (22, bytes(2))):
        path.write_bytes(content[:at] + what + content[at + len(what) :])
        with pytest.raises(UserError, match=r"a\.wav: cannot be read as sound"):
            audio.info(path)


@pytest.mark.parametrize(("subtype", "suffix"), [("GSM610", "wav"), ("GSM610", "aifc")])
def test_sound_that_cannot_be_sought_in_is_not_called_damaged(
    tmp_path: Path, subtype: str, suffix: str
):
    path, kind = tmp_path / f"a.{suffix}", {"wav": "WAV", "aifc": "AIFF"}[suffix]
    soundfile.write(path, np.full(8000, 0.1), 8000, format=kind, subtype=subtype)
    with pytest.raises(UserError, match=f"{subtype} is not supported"):
        audio.info(path)
