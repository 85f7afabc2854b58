"""Features of long recordings, extracted in parts and joined: those of the whole, to the bit."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from g5.common.errors import UserError
from g5.data import elsewhere
from preprocessing import features
from preprocessing.audio_rules import READ_ALL
from preprocessing.frontend import FrontEnd, LogMel
from preprocessing.store.store import Store
from tests.engine.test_jobs import settings
from tests.preprocessing.test_features import MEL, pcen, table

BLOCK_S = 0.9
RATE = 11025  # is resampled


def log_mel() -> LogMel:
    """Frames leave in groups of 3.2 s."""
    return LogMel(**{**MEL, "n_fft": 4096, "hop_mel": 400}, floor_db=-100)


@pytest.fixture
def recordings(tmp_path: Path) -> pd.DataFrame:
    rng, paths = np.random.default_rng(0), []
    for name, seconds in (("short", 2.0), ("long", 41.3), ("silent", 30.0)):
        paths.append(tmp_path / f"{name}.wav")
        x = 0.1 * rng.normal(size=round(seconds * RATE)) * (name != "silent")
        x[5 * RATE : 14 * RATE] = 0.0  # a part of nothing but digital silence
        soundfile.write(paths[-1], x, RATE)
    told = table(paths)
    return told.assign(duration_s=[soundfile.info(path).duration for path in paths])


def in_parts(
    recordings: pd.DataFrame, front_end: FrontEnd, store_dir: Path, monkeypatch, worse=lambda x: x
) -> tuple[Store, list[Any]]:
    """The store that a cluster makes, played in this process, and what was handed out."""
    handed_out: list[Any] = []

    def played(engine, jobs, work):
        handed_out.extend(jobs)
        for job in jobs:
            yield from ((job, worse((job, result))[1]) for job, result in work()([job]))

    monkeypatch.setattr(elsewhere, "done", played)
    asked: Any = SimpleNamespace(
        recordings=lambda: recordings, front_end=front_end, store_dir=store_dir, block_s=BLOCK_S,
        corpus=SimpleNamespace(rules=READ_ALL),
    )  # fmt: skip
    return elsewhere.build_elsewhere(asked, settings(part_s=4.0)), handed_out


def build(recordings: pd.DataFrame, front_end: FrontEnd, store_dir: Path) -> Store:
    return features.build(recordings, front_end, store_dir, workers=1, block_s=BLOCK_S)


def same(one: Store, other: Store) -> None:
    assert sorted(one.keys()) == sorted(other.keys())
    for key in list(one.keys()):
        assert torch.equal(one.get(key), other.get(key))
    columns = ["key", "rows", "checksum", "file", "mean", "std", "band_mean", "band_std"]
    told = [store.meta.set_index("key").sort_index().reset_index() for store in (one, other)]
    for name in columns:
        a, b = (np.stack(table[name].tolist()) for table in told)
        assert np.array_equal(a, b), name


def test_parts_joined_are_the_whole_to_the_bit(recordings, tmp_path: Path, monkeypatch) -> None:
    whole = build(recordings, log_mel(), tmp_path / "whole")
    joined, jobs = in_parts(recordings, log_mel(), tmp_path / "joined", monkeypatch)
    assert len(jobs) > 8
    same(whole, joined)
    assert [path.name for path in (tmp_path / "joined").iterdir()] == [joined.path.name]


def test_a_front_end_that_remembers_is_not_cut(recordings, tmp_path: Path, monkeypatch) -> None:
    joined, jobs = in_parts(recordings, pcen(), tmp_path / "joined", monkeypatch)
    assert len(jobs) == 3
    same(build(recordings, pcen(), tmp_path / "whole"), joined)


def test_a_driver_that_was_killed_goes_on_with_the_parts(recordings, tmp_path, monkeypatch) -> None:
    parts = []

    def killed(pair):
        parts.append(pair[0].what)
        if len(parts) == 5:
            raise KeyboardInterrupt
        return pair

    with pytest.raises(KeyboardInterrupt):
        in_parts(recordings, log_mel(), tmp_path / "joined", monkeypatch, killed)
    read = []
    blocks = features.audio.blocks
    monkeypatch.setattr(
        features.audio, "blocks", lambda *a, **k: read.append(a[0]) or blocks(*a, **k)
    )
    joined, jobs = in_parts(recordings, log_mel(), tmp_path / "joined", monkeypatch)
    assert len(read) == len(jobs) - 5
    monkeypatch.undo()
    same(build(recordings, log_mel(), tmp_path / "whole"), joined)


def test_a_part_that_fails_leaves_out_its_recording_alone(recordings, tmp_path, monkeypatch):
    def third_dies(pair):
        job, result = pair
        dead = "long" in job.name and job.what.first > 10
        return job, UserError(f"{job.name}: 3 workers have died of it") if dead else result

    with pytest.raises(UserError, match=r"long.wav: 3 workers have died"):
        in_parts(recordings, log_mel(), tmp_path / "joined", monkeypatch, third_dies)
    rest = recordings.loc[~recordings["file"].str.contains("long")]
    kept = Store.open(tmp_path / "joined", log_mel().settings(), create=False)
    same(build(rest, log_mel(), tmp_path / "whole"), kept)
    assert [path.name for path in (tmp_path / "joined").iterdir()] == [kept.path.name]


def test_parts_leave_nothing_out(recordings) -> None:
    cut = elsewhere.Extraction(log_mel(), Path(), BLOCK_S, 4.0, READ_ALL)
    (row,) = recordings.loc[recordings["file"].str.contains("long")].to_dict("records")
    edges = [(job.what.first, job.what.stop) for job in cut.parts(row)]
    firsts, stops = zip(*edges, strict=True)
    assert firsts == (0, *stops[:-1])
    assert stops[-1] is None
    assert replace(cut, part_s=900.0).parts(row)[0].what.whole
