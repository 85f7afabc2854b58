"""Sound files as people have them: broken, miswired, silent where nothing was recorded, foreign."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from g5.common.errors import UserError
from g5.common.files import recordings_under, walk
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL
from preprocessing.features import Moments
from preprocessing.frontend import PCEN, LogMel
from preprocessing.naming import Listing
from preprocessing.recordings import scan

SR = 8000
MEL: dict[str, Any] = {
    "sr": SR,
    "n_fft": 256,
    "hop_mel": 128,
    "n_mels": 16,
    "fmin": 50,
    "fmax": 4000,
}
PCEN_VALUES: dict[str, Any] = {
    "pcen_scale": 2.0**31, "pcen_gain": 0.98, "pcen_bias": 2.0, "pcen_power": 0.5,
    "pcen_time_constant_s": 0.4, "pcen_eps": 1e-6,
}  # fmt: skip


def noise(seconds: float, seed: int = 0, channels: int = 1) -> np.ndarray:
    x_TC = np.random.default_rng(seed).normal(0, 0.1, (round(seconds * SR), channels))
    return x_TC.astype(np.float32).squeeze()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good recordings, two that end early, and one that holds nothing."""
    for name in ("a", "b", "c", "d"):
        soundfile.write(tmp_path / f"{name}.wav", noise(1.0, ord(name)), SR)
    for name in ("c", "d"):
        os.truncate(tmp_path / f"{name}.wav", 9000)
    (tmp_path / "e.wav").touch()
    return tmp_path


def told(folder: Path, broken: str = "repair") -> tuple[list[str], list[str], list[bool]]:
    """Which recordings are read, what is said, and what of it is fatal."""
    rules = replace(READ_ALL, broken=broken)
    table, problems = scan(recordings_under(folder), None, rules)
    names = [Path(file).stem for file in table["file"]]
    texts = [str(problem).replace(f"{folder}/", "") for problem in problems]
    return names, texts, [problem.fatal for problem in problems]


def test_what_can_be_read_is_read_and_told_once(folder: Path):
    names, texts, fatal = told(folder)
    assert names == ["a", "b", "c", "d"]
    assert texts == [
        "e.wav: cannot be read as sound (it is empty); replace or remove it; left out",
        "audio.broken=repair: 2 of 5 recordings end early; read to their end: c.wav, d.wav",
    ]
    assert not any(fatal)


def test_broken_recordings_are_skipped_or_stop_where_the_user_says_so(folder: Path):
    names, texts, fatal = told(folder, "skip")
    assert names == ["a", "b"]
    assert texts[1].startswith("c.wav: the header promises 7,044 bytes more")
    assert texts[1].endswith("; left out")
    assert not any(fatal)
    names, texts, fatal = told(folder, "stop")
    assert len(texts) == 3
    assert all(fatal)


def test_samples_that_are_no_numbers_are_found_before_any_work(folder: Path):
    for kind, seed in (("FLOAT", 1), ("DOUBLE", 2)):
        x_T = noise(1.0, seed)
        soundfile.write(folder / f"good_{kind}.wav", x_T, SR, subtype=kind)
        x_T[5000] = np.nan if kind == "FLOAT" else np.inf
        soundfile.write(folder / f"bad_{kind}.wav", x_T, SR, subtype=kind)
    names, texts, fatal = told(folder)
    assert names == ["a", "b", "c", "d", "good_DOUBLE", "good_FLOAT"]
    assert "bad_FLOAT.wav: has NaN or infinite samples, the first at" in texts[2] + texts[1]
    assert not any(fatal)
    assert all(told(folder, "stop")[2])


def test_a_remembered_fault_is_told_again(folder: Path, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    first = scan(recordings_under(folder), cache, READ_ALL)[1]
    assert scan(recordings_under(folder), cache, READ_ALL)[1] == first


def test_decoders_say_nothing(tmp_path: Path, capfd):
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(5.0), SR)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    (tmp_path / "b.mp3").write_bytes(b"no sound at all" * 99)
    assert audio.info(path).fault == "end early"
    audio.read(path, READ_ALL)
    with pytest.raises(UserError, match="cannot be read as sound"):
        audio.info(tmp_path / "b.mp3")
    os.write(2, b"what others say stays\n")
    assert capfd.readouterr().err == "what others say stays\n"


def test_damage_in_the_middle_is_silence(tmp_path: Path, capsys):
    path, x = tmp_path / "a.flac", noise(60.0)
    soundfile.write(path, x, SR)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = bytes(20_000)
    path.write_bytes(content)
    y = audio.read(path, READ_ALL)
    assert len(y) == len(x)
    assert np.allclose(y[: 20 * SR], x[: 20 * SR], atol=1e-4)
    assert np.allclose(y[-20 * SR :], x[-20 * SR :], atol=1e-4)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff"])
def test_channels_that_cancel_are_not_mixed(tmp_path: Path, name: str):
    x_T = noise(3.0)
    soundfile.write(tmp_path / name, np.stack([0.9 * x_T, -x_T], axis=1), SR)
    assert "channel 2, the loudest, is read" in audio.info(tmp_path / name, READ_ALL).note
    assert np.allclose(audio.read(tmp_path / name, READ_ALL), -x_T, atol=0.1)
    mix = replace(READ_ALL, channel="mix")
    assert audio.info(tmp_path / name, mix).note == ""
    assert np.abs(audio.read(tmp_path / name, mix)).max() < 0.1


def test_channels_that_cancel_for_a_while_are_not_mixed(tmp_path: Path):
    """One stretch is enough; one that is nearly silent says nothing."""
    x_TC = np.stack([noise(8.0), noise(8.0)], axis=1)
    x_TC[4 * SR :, 1] *= -0.9
    soundfile.write(tmp_path / "a.wav", x_TC, SR, subtype="FLOAT")
    assert "channel 1, the loudest, is read" in audio.info(tmp_path / "a.wav", READ_ALL).note
    x_TC[4 * SR :] *= 0.01
    soundfile.write(tmp_path / "a.wav", x_TC, SR, subtype="FLOAT")
    assert audio.info(tmp_path / "a.wav", READ_ALL).note == ""
    x_TC = np.stack([noise(3.0), -0.5 * noise(3.0), -0.5 * noise(3.0)], axis=1)
    soundfile.write(tmp_path / "a.wav", x_TC, SR, subtype="FLOAT")
    assert np.array_equal(audio.read(tmp_path / "a.wav", READ_ALL), x_TC[:, 0])


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg"])
def test_channels_that_cancel_late_in_a_compressed_file_are_not_mixed(tmp_path: Path, name: str):
    x_T = 0.3 * np.sin(np.arange(40 * SR) / 3)
    x_TC = np.stack([x_T, np.where(np.arange(len(x_T)) < 34 * SR, x_T, -x_T)], axis=1)
    soundfile.write(tmp_path / name, x_TC, SR)
    assert "the loudest, is read" in audio.info(tmp_path / name, READ_ALL).note
    assert np.abs(audio.read(tmp_path / name, READ_ALL, start_s=36.0)).max() > 0.1


def test_channels_that_do_not_cancel_are_mixed(tmp_path: Path):
    path = tmp_path / "a.wav"
    for x_TC in (noise(2.0, channels=4), noise(2.0, channels=2) * np.array([1.0, 0.0])):
        soundfile.write(path, x_TC, SR, subtype="FLOAT")
        assert audio.info(path, READ_ALL).note == ""
        assert np.allclose(audio.read(path, READ_ALL), x_TC.mean(axis=1), atol=1e-6)


def test_a_channel_can_be_chosen(tmp_path: Path):
    x_TC = noise(1.0, channels=3)
    soundfile.write(tmp_path / "a.wav", x_TC, SR, subtype="FLOAT")
    plain = scan([tmp_path / "a.wav"], None, READ_ALL)[0]["sha256"].tolist()[0]
    for channel, number in {"left": 0, "right": 1, 3: 2}.items():
        rules = replace(READ_ALL, channel=channel)
        assert np.array_equal(audio.read(tmp_path / "a.wav", rules), x_TC[:, number])
        # Another channel has other features.
        table, _ = scan([tmp_path / "a.wav"], None, rules)
        assert table["sha256"].tolist() == [f"{plain}@channel={channel}"]
    with pytest.raises(UserError, match=r"has 3 channels, and audio\.channel=4"):
        audio.read(tmp_path / "a.wav", replace(READ_ALL, channel=4))


@pytest.mark.parametrize("kind", ["logmel", "pcen"])
def test_digital_silence_bends_nothing(kind: str):
    front_end = LogMel(**MEL, floor_db=-100) if kind == "logmel" else PCEN(**MEL, **PCEN_VALUES)
    x_T, gap_T = noise(4.0), np.zeros(2 * SR, np.float32)
    holed_T = np.concatenate([x_T[: 2 * SR], gap_T, x_T[2 * SR :]])
    whole, holed = moments(front_end, x_T), moments(front_end, holed_T)
    assert holed["mean"] == pytest.approx(whole["mean"], abs=0.02 * abs(whole["std"]))
    assert holed["std"] == pytest.approx(whole["std"], rel=0.1)
    # What follows the gap is what it would be without.
    y_MT, z_MT = front_end(torch.from_numpy(holed_T)), front_end(torch.from_numpy(x_T))
    torch.testing.assert_close(y_MT[:, -100:], z_MT[:, -100:], atol=0.02, rtol=1e-3)
    pushed = front_end.stream()
    joined = torch.cat([pushed.push(holed_T[:30000]), pushed.push(holed_T[30000:]),
                        pushed.finish()], dim=1)  # fmt: skip
    assert torch.equal(joined, y_MT)


def test_a_recording_of_silence_alone_has_no_deviation():
    assert moments(LogMel(**MEL, floor_db=-100), np.zeros(SR, np.float32))["std"] == 0


def moments(front_end: LogMel | PCEN, x_T: np.ndarray) -> dict:
    found, stream = Moments(), front_end.stream()
    found.update(stream.push(x_T).T, stream.silent_T)
    found.update(stream.finish().T, stream.silent_T)
    return found.meta()


def test_every_file_that_may_be_sound_is_found(tmp_path: Path):
    for name in ("a.m4a", "b.WMA", "c.w64", "d.caf", "e.aiff", "f.txt", "g.wav", "h.wac"):
        (tmp_path / name).write_bytes(b"\0" * 100)
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "self").symlink_to(tmp_path)
    (tmp_path / os.fsdecode(b"\xff.wav")).touch()
    assert len(recordings_under(tmp_path)) == 11
    table, problems = scan(recordings_under(tmp_path), None, READ_ALL)
    assert table.empty
    said = {os.path.basename(problem.where): problem.message for problem in problems}
    assert "(.m4a is not supported); convert it to WAV or FLAC" in said["a.m4a"]
    assert "convert" in said["b.WMA"]
    assert "a pipe or a device" in said["pipe.wav"]
    assert "a pipe or a device" in said["zero.wav"]
    assert "no Unicode" in said["\\xff.wav"]
    assert len(said) == 11


def test_a_folder_that_cannot_be_entered_is_among_them(tmp_path: Path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.wav").touch()
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert walk(tmp_path) == [tmp_path / "a.wav", tmp_path / "closed"]
    assert recordings_under(tmp_path) == walk(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match=r"closed: is a folder that cannot be entered"):
        audio.info(tmp_path / "closed")


def test_a_copy_in_a_foreign_format_makes_no_name_ambiguous(tmp_path: Path):
    files = [tmp_path / "night.wav", tmp_path / "night.m4a"]
    assert Listing(files).find("night") == files[:1]
    assert Listing(files[1:]).find("night") == files[1:]


def test_a_rate_of_a_few_hz_takes_no_memory(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", noise(5.0), 4)
    blocks = audio.blocks(tmp_path / "a.wav", READ_ALL, block_s=10.0, rate_hz=22050)
    assert max(len(block) for _, block in zip(range(50), blocks, strict=False)) == 220_500
