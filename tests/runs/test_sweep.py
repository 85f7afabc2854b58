"""Sweeps: trials that many processes share, kills, pruning; launchers of several jobs at once."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: E402
from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState  # noqa: E402

from g5.common.errors import UserError  # noqa: E402
from g5.runs.sweep import Sweep  # noqa: E402
from g5.runs.trials import Search, Space, Trials, Watch, distribution  # noqa: E402
from tests.conftest import run_g5  # noqa: E402

SPACE: Space = {"x": FloatDistribution(0.0, 1.0)}
SEARCH = Search(trials=6, startup=2, prune=True, prune_after=1, seed=3)
FORK = multiprocessing.get_context("fork")
RUN = Path("outputs/protonet_baseline")


def trials(place: Path, asked: dict[str, Any] | None = None) -> Trials:
    return Trials(
        f"sqlite:///{place}/optuna.db", "s", place / "s",
        asked={"x": "interval(0,1)"} if asked is None else asked, maximise=True, search=SEARCH,
    )  # fmt: skip


def work(place: Path, then: Callable[[Any], None] = lambda trial: None) -> None:
    """Take every trial that is left; its value is its number after one validation."""
    shared = trials(place)
    while True:
        with shared.next(SPACE) as trial:
            if trial is None:
                return
            then(trial)
            trial.report(float(trial.number), 0)
            shared.tell(trial, TrialState.COMPLETE)


def die_at_two(trial: Any) -> None:
    if trial.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)


def taken(place: Path) -> list[tuple[int, float]]:
    return [(trial.number, trial.params["x"]) for trial in trials(place).study.get_trials()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=x,y,x", CategoricalDistribution(["x", "y"])),
        ("a=[1,2],[3]", CategoricalDistribution(["[1,2]", "[3]"])),
        ("a=interval(0,1)", FloatDistribution(0.0, 1.0)),
        ("a=tag(log,interval(1e-4,1))", FloatDistribution(1e-4, 1.0, log=True)),
        ("a=int(interval(1,9))", IntDistribution(1, 9)),
        ("a=range(1,9,3)", IntDistribution(1, 7, step=3)),
        ("a=range(0,0.3,0.1)", CategoricalDistribution(["0.0", "0.1", "0.2"])),
    ],
)
def test_what_is_searched_is_said_in_hydras_words(text, found):
    assert distribution(OverridesParser.create().parse_override(text)) == found


@pytest.mark.parametrize(
    "text", ["a=tag(log,interval(0,1))", "a=interval(2,1)", "a=interval(0,inf)", "a=range(3,3)"]
)
def test_what_cannot_be_searched_is_named(text):
    with pytest.raises(UserError, match="a: cannot be searched"):
        distribution(OverridesParser.create().parse_override(text))


def test_processes_share_trials_and_each_is_taken_once(tmp_path):
    workers = [FORK.Process(target=work, args=(tmp_path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert [number for number, _ in taken(tmp_path)] == list(range(SEARCH.trials))
    assert trials(tmp_path).counts() == {"complete": SEARCH.trials}
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_killed_process_trial_goes_on_with_its_values(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    work(tmp_path / "whole")
    worker = FORK.Process(target=work, args=(tmp_path / "killed", die_at_two))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    assert trials(tmp_path / "killed").counts() == {"complete": 2, "running": 1}
    work(tmp_path / "killed")
    assert taken(tmp_path / "killed") == taken(tmp_path / "whole")


def test_what_a_killed_process_had_not_drawn_is_drawn(tmp_path, monkeypatch):
    """Killed inside the sampler, a trial has no values yet."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    work(tmp_path / "whole")
    sampler = optuna.samplers.TPESampler
    draw = sampler.sample_independent

    def killed(self, study, trial, name, values):
        die_at_two(trial)
        return draw(self, study, trial, name, values)

    with monkeypatch.context() as patch:
        patch.setattr(sampler, "sample_independent", killed)
        patch.setattr(sampler, "sample_relative", lambda *_: {})
        worker = FORK.Process(target=work, args=(tmp_path / "killed",))
        worker.start()
        worker.join()
    assert worker.exitcode == -signal.SIGKILL
    assert trials(tmp_path / "killed").study.get_trials()[2].params == {}
    work(tmp_path / "killed")
    assert taken(tmp_path / "killed") == taken(tmp_path / "whole")


def test_a_trial_below_the_others_is_pruned(tmp_path):
    shared = trials(tmp_path)
    for value in (0.7, 0.8, 0.9, 0.1):
        with shared.next(SPACE) as trial:
            assert trial is not None
            for epoch in (0, 1):
                trial.report(value, epoch)
            watch = Watch(trial, "val/acc", prune=True)
            assert watch.is_over() == (value == 0.1)
            state = TrialState.PRUNED if watch.pruned else TrialState.COMPLETE
            assert shared.tell(trial, state).value == value
    best = shared.best()
    assert best is not None
    assert best.value == 0.9


def test_a_sweep_goes_on_only_as_it_began_and_where_its_trials_lie(tmp_path):
    work(tmp_path)
    with pytest.raises(UserError, match="x: differs from the sweep in"):
        trials(tmp_path, {"x": "interval(0,2)"})
    shutil.rmtree(tmp_path / "s" / "5")
    with pytest.raises(UserError, match="has no trial 5 of the sweep"):
        trials(tmp_path)


def test_no_password_is_kept_with_a_sweep():
    address = "logger.tracking_uri=http://me:secret@host"
    sweep = Sweep(["arch=v1", "arch.model.dropout=0,0.1", "arch.episodes.n_way=4", address])
    assert sweep.asked["arch.episodes.n_way"] == "4"
    assert "secret" not in str(sweep.asked)


FAST = (
    "debug=fast", "logger.system_metrics=false", "sweep.trials=2", "exp_name=s",
    "arch.training.learning_rate=tag(log,interval(1e-4,1e-2))", "arch.model.dropout=0,0.1",
)  # fmt: skip


def children(place: Path) -> dict[str, list[str]]:
    """Names of MLflow's runs, by the name of their parent."""
    with sqlite3.connect(place / "mlflow.db") as database:
        rows = database.execute(
            "SELECT parent.name, run.name FROM runs run JOIN tags ON tags.run_uuid = run.run_uuid "
            "JOIN runs parent ON parent.run_uuid = tags.value WHERE tags.key = "
            "'mlflow.parentRunId' ORDER BY run.name"
        ).fetchall()
    found: dict[str, list[str]] = {}
    for parent, run in rows:
        found.setdefault(parent, []).append(run)
    return found


@pytest.mark.slow
def test_a_killed_sweep_of_two_workers_goes_on_and_every_trial_is_a_child_run(place, capfd):
    def started() -> None:
        os.setsid()
        os._exit(run_g5(["sweep", "v1", *FAST, "sweep.workers=2"]))

    killed = FORK.Process(target=started)
    killed.start()
    end_s = time.monotonic() + 300
    while not list((place / RUN / "s").glob("*/history.csv")) and time.monotonic() < end_s:
        time.sleep(0.1)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)  # its workers see that, and end, too
    killed.join()
    assert run_g5(["sweep", "v1", *FAST, "sweep.workers=1"]) == 0
    out = capfd.readouterr().out
    assert "trials    2 complete" in out
    for number in range(2):
        rows = (place / RUN / "s" / str(number) / "history.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2"]
        assert not (place / RUN / "s" / str(number) / "test_scores.json").exists()
    assert children(place) == {"s": ["s/0", "s/1"]}
    # All is done: nothing is trained, and other settings are refused.
    assert run_g5(["sweep", "v1", *FAST]) == 0
    assert "\ntrial 0" not in capfd.readouterr().out
    assert run_g5(["sweep", "v1", *FAST, "arch.episodes.k_shot=1"]) == 1
    assert "arch.episodes.k_shot: differs from the sweep" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing is searched"),
        (["arch.model.dropuot=0,1"], "did you mean arch.model.dropout"),
        (["exp_name=a,b"], "exp_name: says where"),
        (["arch.model.dropout=0,0.1", "sweep.workers=0"], "sweep.workers"),
        (["arch.model.dropout=0,0.1", "sweep.storage=nowhere://x"], "sweep.storage"),
    ],
)
def test_what_cannot_be_swept_is_said_before_any_work(place, capsys, arguments, words):
    assert run_g5(["sweep", "v1", "debug=fast", *arguments]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_run_at_once_in_processes_of_their_own(place, launcher):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    command = [
        "arch=v1", "debug=fast", "test=false", "exp_name=m", "logger.system_metrics=false",
        f"hydra/launcher={launcher}", "arch.episodes.n_way=5,99",
    ]  # fmt: skip
    if launcher == "joblib":
        command.append("hydra.launcher.n_jobs=2")
    from archs.train import launch

    with pytest.raises(UserError, match=r"job 1: .*arch\.episodes\.n_way"):
        launch(command, multirun=True)
    assert (place / RUN / "m" / "0" / "checkpoints" / "last.ckpt").exists()
    assert children(place) == {"m": ["m/0"]}
