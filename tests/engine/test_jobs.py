"""What is shared out, without a cluster: units, parts of recordings, what is said without Ray."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from g5.config.settings import load_transfer
from g5.embeddings import embedding
from g5.embeddings.vectors import load
from g5.engine.jobs import done
from g5.engine.on_ray import units
from tests.conftest import run_g5
from tests.engine.work import Squares, jobs_of, squares_of

ENCODER = "tests.user_encoders.Good"


def settings(**changes):
    return replace(load_transfer(["engine=ray"], reads=("engine",)).engine, **changes)


def test_here_all_jobs_are_one_worker_s(tmp_path: Path) -> None:
    found = done(None, jobs_of(range(5)), Squares(tmp_path, {}))
    assert [(job.what, value) for job, value in found] == squares_of(range(5))


def test_short_recordings_are_put_together_and_long_ones_stay_alone() -> None:
    jobs = [
        replace(job, seconds=s)
        for job, s in zip(jobs_of(range(6)), [1, 1, 9, 8, 1, 1], strict=True)
    ]
    assert [[job.what for job in unit] for unit in units(jobs, 8)] == [[0, 1, 2], [3], [4, 5]]


def test_parts_of_a_recording_are_the_recording(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, seconds in (("a", 9.3), ("b", 2.0), ("c", 21.7)):
        soundfile.write(f"{name}.wav", 0.1 * rng.normal(size=round(seconds * 8000)), 8000)
    names = ["a.wav", "b.wav", "c.wav"]
    small = ["embed.batch_size=2", "embed.hop_s=0.3"]
    assert run_g5(["embed", ENCODER, *names, "-o", "whole.store", *small]) == 0
    shared = []

    def here(engine, jobs, work):
        shared.extend(jobs)
        return work()(jobs)

    monkeypatch.setattr(embedding, "done", here)
    cut = ["engine=ray", "engine.part_s=4"]
    assert run_g5(["embed", ENCODER, *names, "-o", "parts.store", *small, *cut]) == 0
    assert len(shared) > 6
    whole, parts = load("whole.store"), load("parts.store")
    assert np.array_equal(np.asarray(whole[0]), np.asarray(parts[0]))
    pd.testing.assert_frame_equal(whole[1], parts[1])


def test_a_part_that_fails_leaves_out_its_recording_alone(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        soundfile.write(f"{name}.wav", 0.1 * rng.normal(size=8000 * 12), 8000)

    def one_dies(engine, jobs, work):
        for job, result in work()(jobs):
            dead = job.what.name == "a.wav" and job.what.first == jobs[1].what.first
            yield job, embedding.UserError("a.wav: 3 workers have died of it") if dead else result

    monkeypatch.setattr(embedding, "done", one_dies)
    cut = ["engine=ray", "engine.part_s=4", "embed.batch_size=2"]
    assert run_g5(["embed", ENCODER, "a.wav", "b.wav", "-o", "x.store", *cut]) == 1
    assert capsys.readouterr().out.count("have died of it") == 1
    assert set(load("x.store")[1]["file"]) == {"b.wav"}


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.full(8000, 0.1), 8000)
    assert run_g5(["embed", ENCODER, "a.wav", "-o", "x.store", "engine=ray"]) == 1
    assert 'pip install "g5[ray]"' in capsys.readouterr().err
