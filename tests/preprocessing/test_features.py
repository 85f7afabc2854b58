"""Recordings to stored features: the numbers, and what happens when something goes wrong."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import preprocessing.store.writer as writer_module
from g5.common.atomic import disk_errors
from g5.common.errors import UserError
from preprocessing import audio, features
from preprocessing.audio_rules import READ_ALL
from preprocessing.frontend import PCEN, FrontEnd, LogMel
from preprocessing.store.store import Store
from tests.conftest import ROOT

SR = 8000
MEL = {"sr": SR, "n_fft": 256, "hop_mel": 100, "n_mels": 20, "fmin": 50, "fmax": 4000}


def log_mel() -> LogMel:
    return LogMel(**MEL, floor_db=-100)


def pcen() -> PCEN:
    return PCEN(
        **MEL, pcen_scale=2.0**31, pcen_gain=0.98, pcen_bias=2.0, pcen_power=0.5,
        pcen_time_constant_s=0.1, pcen_eps=1e-6,
    )  # fmt: skip


def write_sound(path: Path, seed: int, seconds: float, rate_hz: int = SR) -> None:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).normal(size=len(t))
    x = 0.2 * np.sin(2 * np.pi * (300 + 50 * seed) * t) + 0.01 * (1 + seed) * noise
    soundfile.write(path, x, rate_hz, subtype="PCM_16")


def table(paths: list[Path]) -> pd.DataFrame:
    """What `Corpus.recordings` says of these files; of unreadable ones as much as is needed."""
    return pd.DataFrame(
        {
            "file": [str(path) for path in paths],
            "duration_s": [
                path.stat().st_size / SR / 2 if path.exists() else 1.0 for path in paths
            ],
            "sha256": [audio.content_hash(path) if path.is_file() else path.name for path in paths],
        }
    )


@pytest.fixture
def recordings(tmp_path) -> pd.DataFrame:
    paths = [tmp_path / f"{number}.wav" for number in range(5)]
    for number, path in enumerate(paths):
        write_sound(path, number, seconds=0.5 + 1.3 * number)
    return table(paths)


def build(
    recordings: pd.DataFrame, place: Path, frontend: FrontEnd | None = None, **changes
) -> Store:
    settings = {"workers": 2, "block_s": 1.0, **changes}
    return features.build(recordings, frontend or log_mel(), place, **settings)


def expected(file: str, frontend: FrontEnd) -> torch.Tensor:
    return frontend(torch.from_numpy(audio.read(file, READ_ALL, rate_hz=SR))).T


@pytest.mark.parametrize("make", [log_mel, pcen])
def test_the_store_holds_the_front_ends_output(recordings, tmp_path, make):
    store = build(recordings, tmp_path / "store", make())
    assert sorted(store.keys()) == sorted(recordings["sha256"])
    meta = store.meta.set_index("key")
    for file, key in zip(recordings["file"], recordings["sha256"], strict=True):
        x_TM = expected(file, make())
        assert torch.equal(store.get(key), x_TM.half())
        row = meta.loc[key]
        x = x_TM.double().numpy()
        assert row["mean"] == pytest.approx(x.mean(), abs=1e-4)
        assert row["std"] == pytest.approx(x.std(), rel=1e-5)
        np.testing.assert_allclose(row["band_mean"], x.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(row["band_std"], x.std(axis=0), rtol=1e-4)
        assert row["file"] == file
    assert store.verify() == []


def test_neither_blocks_nor_workers_show(recordings, tmp_path):
    reference = build(recordings, tmp_path / "a", pcen(), block_s=1000.0, workers=1)
    for turn, (block_s, workers) in enumerate([(0.37, 3), (2.0, "auto")]):
        store = build(recordings, tmp_path / str(turn), pcen(), block_s=block_s, workers=workers)
        for key in recordings["sha256"]:
            assert torch.equal(store.get(key), reference.get(key))


def test_recordings_of_other_rates_are_resampled(tmp_path):
    path = tmp_path / "fast.wav"
    write_sound(path, 2, 3.0, rate_hz=22050)
    recordings = table([path])
    store = build(recordings, tmp_path / "store")
    x_TM = store.get(audio.content_hash(path))
    assert x_TM.shape == (1 + 3 * SR // 100, 20)
    assert torch.equal(x_TM, expected(str(path), log_mel()).half())


def test_only_what_is_missing_is_extracted(recordings, tmp_path, monkeypatch):
    opened = []

    def blocks(path, rules, **settings):
        opened.append(path)
        return audio_blocks(path, rules, **settings)

    audio_blocks = audio.blocks
    monkeypatch.setattr(audio, "blocks", blocks)
    build(recordings[:2], tmp_path / "store", workers=1)
    build(recordings, tmp_path / "store", workers=1)
    # Longest first, each once.
    assert opened[2:] == list(recordings["file"][:1:-1])
    assert len(opened) == 5
    build(recordings, tmp_path / "store")
    assert len(opened) == 5
    # Other settings are another store.
    assert len(build(recordings, tmp_path / "store", pcen())) == 5
    assert len(opened) == 10


def test_the_same_bytes_twice_are_extracted_once(recordings, tmp_path):
    doubled = pd.concat([recordings, recordings], ignore_index=True)
    store = build(doubled, tmp_path / "store")
    rows = [len(expected(file, log_mel())) for file in recordings["file"]]
    assert sum(store.meta["rows"].tolist()) == sum(rows)


def test_band_stats_are_those_of_all_frames_together(recordings, tmp_path):
    store = build(recordings, tmp_path / "store")
    keys = list(recordings["sha256"][1:4])
    mean_M, std_M = features.band_stats(store, [*keys, keys[0]])
    x = np.concatenate([expected(file, log_mel()).numpy() for file in recordings["file"][1:4]])
    np.testing.assert_allclose(mean_M, x.mean(axis=0, dtype=np.float64), atol=1e-4)
    np.testing.assert_allclose(std_M, x.std(axis=0, dtype=np.float64), rtol=1e-5)


def test_moments_of_silence_and_of_a_far_mean():
    silence, far = features.Moments(), features.Moments()
    generator = torch.Generator().manual_seed(0)
    x_TM = 1000 + torch.randn(1000, 3, generator=generator)
    for start in range(0, 1000, 77):
        silence.update(torch.full((77, 3), -100.0))
        far.update(x_TM[start : start + 77])
    assert silence.meta()["std"] < 1e-4
    assert silence.meta()["mean"] == -100
    np.testing.assert_allclose(far.meta()["band_std"], x_TM.double().std(0, correction=0), 1e-4)


def test_one_unreadable_file_does_not_cost_the_others(recordings, tmp_path):
    nan, cut, folder = tmp_path / "nan.wav", tmp_path / "cut.wav", tmp_path / "folder.wav"
    loud, gone = tmp_path / "loud.wav", tmp_path / "gone.wav"
    x = np.zeros(2 * SR, np.float32)
    x[SR] = np.nan
    soundfile.write(nan, x, SR, subtype="FLOAT")
    write_sound(cut, 1, 2.0)
    os.truncate(cut, 5000)
    folder.mkdir()
    soundfile.write(loud, np.tile([1e30, -1e30], SR), SR, subtype="FLOAT")
    bad = [nan, folder, gone, loud]
    recordings = pd.concat([table([cut]), recordings], ignore_index=True)
    everything = pd.concat([table(bad), recordings], ignore_index=True)
    with pytest.raises(UserError, match="4 of 10 recordings could not be read") as caught:
        build(everything, tmp_path / "store")
    message = str(caught.value)
    assert "\n" not in message
    assert all(str(path) in message for path in bad)
    store = Store.open(tmp_path / "store", log_mel().settings(), create=False)
    assert sorted(store.keys()) == sorted(recordings["sha256"])
    for file, key in zip(recordings["file"], recordings["sha256"], strict=True):
        assert torch.equal(store.get(key), expected(file, log_mel()).half())
    with pytest.raises(UserError, match=r"^\S*nan\.wav: has NaN"):
        build(everything.head(1), tmp_path / "store")


def test_many_failures_are_counted(tmp_path):
    with pytest.raises(UserError, match=r"25 of 25 .* \.\.\. and 15 more$"):
        build(table([tmp_path / f"{i}.wav" for i in range(25)]), tmp_path / "store")


def test_a_full_disk_stops_the_run_and_keeps_what_is_stored(recordings, tmp_path, monkeypatch):
    build(recordings[:2], tmp_path / "store")
    written = []

    class FullShard(writer_module.Shard):
        def write(self, half):
            written.append(len(half))
            if len(written) > 1:
                with disk_errors(self._path):
                    raise OSError(errno.ENOSPC, "No space left on device")
            super().write(half)

    monkeypatch.setattr(writer_module, "Shard", FullShard)
    with pytest.raises(UserError, match=r"the disk is full; free some space and run again$"):
        build(recordings, tmp_path / "store", workers=1)
    assert len(written) == 2  # and the other recordings were not tried
    monkeypatch.undo()
    # The two of the run before, and the one that was complete.
    assert len(Store.open(tmp_path / "store", log_mel().settings(), create=False)) == 3
    assert len(build(recordings, tmp_path / "store")) == 5


def test_a_fault_of_the_program_is_not_taken_for_a_bad_file(recordings, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(audio, "blocks", broken)
    with pytest.raises(ZeroDivisionError):
        build(recordings, tmp_path / "store")


def test_the_threads_of_torch_are_put_back(recordings, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        build(recordings, tmp_path / "store")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_check_names_the_recording_and_the_next_run_makes_only_that_again(
    recordings, tmp_path, monkeypatch
):
    place = tmp_path / "store"
    store = build(recordings, place, workers=1)
    assert features.check(recordings, log_mel(), place) == []
    victim = recordings.iloc[2]
    row = store.meta.set_index("key").loc[victim["sha256"]]
    path = store.path / f"{row['shard']}.f16"
    content = bytearray(path.read_bytes())
    content[(row["row"] + 3) * 40] ^= 0x10
    path.write_bytes(content)

    with pytest.raises(UserError, match=rf"{path.name}: is corrupt.*`g5 features --check`"):
        build(recordings, place)
    problems = features.check(recordings, log_mel(), place)
    assert len(problems) == 2
    assert path.name in problems[0]
    assert victim["file"] in problems[0]
    assert "1 of 5 recordings have no features" in problems[1]

    opened = []
    audio_blocks = audio.blocks
    monkeypatch.setattr(
        audio, "blocks", lambda p, r, **s: opened.append(p) or audio_blocks(p, r, **s)
    )
    store = build(recordings, place)
    assert opened == [victim["file"]]
    assert torch.equal(store.get(victim["sha256"]), expected(victim["file"], log_mel()).half())
    assert features.check(recordings, log_mel(), place) == []


def test_checking_what_was_never_built_says_what_to_run(recordings, tmp_path):
    with pytest.raises(UserError, match="there is no store of these settings; run `g5 features`"):
        features.check(recordings, log_mel(), tmp_path / "store")


def test_a_wrong_number_of_workers_is_named(recordings, tmp_path):
    with pytest.raises(UserError, match=r"features\.workers=0"):
        build(recordings, tmp_path / "store", workers=0)


RUN = """
import sys, time
import pandas as pd
from preprocessing import audio, features
from g5.common.errors import UserError
from tests.preprocessing.test_features import log_mel
blocks = audio.blocks
def slow(path, rules, **settings):
    for block in blocks(path, rules, **settings):
        time.sleep(0.02)
        yield block
    print(path, flush=True)
audio.blocks = slow
import preprocessing.store.writer as writer
writer.SHARD_BYTES = int(sys.argv[3])
try:
    features.build(
        pd.read_parquet(sys.argv[1]), log_mel(), sys.argv[2], workers=2, block_s=0.5
    )
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_where_it_stopped(tmp_path, how):
    """Killed: all but the shard being written is kept. Ctrl-C: all that was finished."""
    paths = [tmp_path / f"{number}.wav" for number in range(60)]
    for number, path in enumerate(paths):
        write_sound(path, number, 3.0)
    recordings = table(paths)
    recordings.to_parquet(tmp_path / "recordings.parquet")
    place, shard_bytes = tmp_path / "store", 3 * 241 * 40 if how == signal.SIGKILL else 2**26
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, tmp_path / "recordings.parquet", place, str(shard_bytes)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    finished = [process.stdout.readline() for _ in range(20)]
    process.send_signal(how)
    finished += process.stdout.readlines()
    returncode = process.wait()
    if how == signal.SIGINT:
        assert finished.pop() == "interrupted\n"
        assert returncode == 130
        kept = len(finished)
    else:
        kept = len(finished) - 2 * 3
    store = Store.open(place, log_mel().settings(), create=False)
    assert max(kept - 2, 1) <= len(store) < 50
    assert store.verify() == []
    store = build(recordings, place)
    assert len(store) == 60
    for file, key in zip(recordings["file"][::7], recordings["sha256"][::7], strict=True):
        assert torch.equal(store.get(key), expected(file, log_mel()).half())
