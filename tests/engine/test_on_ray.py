"""Real workers of a local Ray cluster, and real kills: nothing lost, nothing twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile

from g5.common.errors import UserError
from g5.embeddings.vectors import VectorStore, load
from g5.engine.jobs import done
from tests.conftest import ROOT, run_g5
from tests.detection.soundscapes import UP, soundscape
from tests.engine.test_jobs import settings
from tests.engine.work import Squares, jobs_of, squares_of

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra g5[ray])")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RATE = 22050
# Puts every recording on the disk at once, so that a kill leaves something.
EAGER = (
    "import sys; import g5.embeddings.embedding as e; e.COMMIT_S = 0.0;"
    "from g5.cli.main import main; sys.argv[0] = 'g5'; main()"
)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
            logging_level="ERROR",
        )  # fmt: skip
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(6):
        calls = dict.fromkeys([1.0 + 0.1 * number, 4.0, 7.0, 10.0, 13.0], UP)
        soundfile.write(folder / f"r{number}.wav", soundscape(16, calls, seed=number), RATE)
    rows = [f"r0.wav,{start},{start + 0.3},up\n" for start in (1.0, 4.0, 7.0, 10.0, 13.0)]
    (folder / "support.csv").write_text("file,start_s,end_s,label\n" + "".join(rows))
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_once(two_workers, tmp_path: Path, workers: int) -> None:
    own = settings(workers=workers, unit_s=180.0, ahead=1)
    found = list(done(own, jobs_of(range(20)), Squares(tmp_path, {})))
    assert [(job.what, value) for job, value in found] == squares_of(range(20))


def test_a_worker_that_is_killed_loses_nothing(two_workers, tmp_path: Path) -> None:
    own = settings(workers=2, unit_s=120.0, tries=3)
    found = list(done(own, jobs_of(range(12)), Squares(tmp_path, {5: 1})))
    assert [(job.what, value) for job, value in found] == squares_of(range(12))
    assert len((tmp_path / "5.begun").read_text()) >= 2


def test_what_kills_every_worker_is_left_out_with_the_reason(two_workers, tmp_path: Path) -> None:
    own = settings(workers=2, unit_s=120.0, tries=2)
    found = list(done(own, jobs_of(range(-1, 8)), Squares(tmp_path, {3: 99})))
    wrong = {job.what: str(value) for job, value in found if isinstance(value, UserError)}
    assert wrong[-1] == "is negative"
    assert wrong[3].startswith("r3.wav: 2 workers have died of it")
    assert set(wrong) == {-1, 3}
    good = [(job.what, value) for job, value in found if job.what not in wrong]
    assert good == squares_of(n for n in range(8) if n != 3)


def test_detection_gives_the_same_bytes(two_workers, recordings: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = ["detection.pictures=false", "--format", "csv,raven"]
    support = str(recordings / "support.csv")
    for out, engine in (("here", []), ("there", ["engine=ray", "engine.unit_s=20"])):
        words = ["detect", "default", str(recordings), "--support", support, "-o", out]
        assert run_g5([*words, *quick, *engine]) == 0
    names = sorted(path.name for path in Path("here").iterdir() if path.is_file())
    assert "predictions.csv" in names
    for name in names:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_features_are_the_same(two_workers, tmp_path: Path, monkeypatch) -> None:
    from preprocessing.store.store import Store

    stores = []
    for name, engine in (
        ("here", []),
        ("there", ["engine=ray", "engine.unit_s=30", "engine.part_s=6"]),
    ):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert run_g5(["features", "data=tiny", "features.block_s=2", *engine]) == 0
        (path,) = [p for p in Path("outputs/store").absolute().iterdir() if p.is_dir()]
        stores.append(Store.at(path, command="g5 features"))
    here, there = stores
    keys = sorted(here.keys())
    assert keys == sorted(there.keys())
    for key in keys:
        assert np.array_equal(here.get(key).numpy(), there.get(key).numpy())
    assert there.verify() == []


def test_workers_and_then_the_driver_are_killed(recordings: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["embed", "default", str(recordings), "embed.hop_s=0.25", "embed.batch_size=8"]
    assert run_g5([*words, "-o", "here.store"]) == 0
    there = [*words, "-o", "there.store", "engine=ray", "engine.workers=1", "engine.unit_s=16"]
    job = subprocess.Popen(
        [sys.executable, "-c", EAGER, *there], cwd=tmp_path, start_new_session=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
    )  # fmt: skip
    until(lambda: stored() >= 1, job)
    kill_a_worker(job)
    until(lambda: stored() >= 2, job)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    assert run_g5(there) == 0
    here, again = load("here.store"), load("there.store")
    assert np.array_equal(np.asarray(here[0]), np.asarray(again[0]))
    pd.testing.assert_frame_equal(here[1], again[1])


def stored() -> int:
    try:
        return len(VectorStore.open("there.store").keys)
    except (UserError, OSError):
        return 0


def kill_a_worker(job: subprocess.Popen) -> None:
    children = psutil.Process(job.pid).children(recursive=True)
    workers = [child for child in children if child.name().startswith("ray::_Remote")]
    workers[0].kill()


def until(condition, job: subprocess.Popen) -> None:
    for _ in range(3000):
        if condition():
            return
        assert job.poll() is None, "it has ended before it was killed"
        time.sleep(0.1)
    raise AssertionError("it never happened")
