"""Search for the best settings, trial by trial, on one machine or many: `g5 sweep`."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from g5.common.device import torch_threads
from g5.common.errors import DiskError, UserError, line_of
from g5.common.secrets import redacted
from g5.config.check import Count
from g5.config.compose import composed, override_errors, readable, resolve
from g5.config.schema import Whole
from g5.config.settings import Settings, Tree, group_of, load
from g5.runs.train import Training
from g5.runs.trials import Search, Space, Trials, Watch, distribution
from g5.tracking.checkpoints import BEST
from g5.tracking.folders import check_names
from g5.tracking.mlflow.places import sqlite_uri
from g5.training.checks import check_monitors, check_trainer

GROUP = "sweep"
# Of every trial: a killed one goes on, and the test set is for the best alone.
OF_TRIALS = ("train=true", "resume=true", "test=false")
FOLDER = "exp_name=sweep"  # where nobody names another
PLACES = ("name", "exp_name", "path", "logger", "resume", "train", "test", "hydra")


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep searches, and how many work on it."""

    trials: Count
    workers: Count
    threads: Count | None
    storage: str | None
    startup: Whole
    prune: bool
    prune_after: Whole


@dataclass(frozen=True)
class SweepFile(Tree):
    """`conf/sweep.yaml`."""

    sweep: SweepSettings


def sweep(overrides: Sequence[str]) -> Path | None:
    """Run what is left of a sweep's trials; the best checkpoint, None where there is none yet.

    Args:
        overrides: of a training, some of them lists, ranges or intervals; ``sweep.*`` change
            conf/sweep.yaml.

    Raises:
        UserError: what cannot be, most of it before any work; or no trial came to its end.
    """
    asked = Sweep(overrides)
    trials = asked.trials()
    print(f"sweep     {trials.folder}\ntrials    {asked.how.trials}, in {redacted(asked.storage)}")
    if asked.how.workers == 1:
        asked.work(trials)
    else:
        _with_workers(overrides, asked.how.workers)
    return asked.tell(trials)


class Sweep:
    """What is searched, and where it lies.

    Args:
        overrides: as of `sweep`.
    """

    def __init__(self, overrides: Sequence[str]) -> None:
        self.how = _settings([text for text in overrides if group_of(text) == GROUP])
        others = [text for text in overrides if group_of(text) != GROUP]
        if not any(text.startswith("exp_name=") for text in others):
            others.append(FOLDER)
        with override_errors():
            parsed = OverridesParser.create().parse_overrides(readable(others))
        searched = [override for override in parsed if override.is_sweep_override()]
        if not searched:
            raise UserError(
                "nothing is searched; give a list, a range or an interval: "
                "arch.training.learning_rate='tag(log,interval(1e-4,1e-2))'"
            )
        self.space: Space = {_key(one): distribution(one) for one in searched}
        self.texts = {_key(one): str(one.input_line).partition("=")[2] for one in searched}
        self.fixed = [str(one.input_line) for one in parsed if not one.is_sweep_override()]
        self.settings = self._with({key: _any(one) for key, one in self.space.items()})
        check_names(self.settings.name, self.settings.exp_name)
        check_monitors(self.settings)
        if check_trainer(self.settings) > 1:
            raise UserError("trainer: a trial is trained by one process; see sweep.workers")

    @property
    def monitor(self) -> str:
        """The metric that decides."""
        return self.settings.callbacks.checkpoint.monitor

    @cached_property
    def storage(self) -> str:
        """Where Optuna keeps the trials."""
        return self.how.storage or sqlite_uri(self.settings.path.root / "optuna.db")

    @property
    def asked(self) -> dict[str, str]:
        """What the sweep is; places and addresses, which may hold passwords, are no part of it."""
        fixed = dict(text.split("=", 1) for text in self.fixed)
        return self.texts | {
            key: value for key, value in fixed.items() if key.partition(".")[0] not in PLACES
        }

    def trials(self) -> Trials:
        """Those that are done, and to be done."""
        settings, how = self.settings, self.how
        return Trials(
            self.storage,
            f"{settings.name}/{settings.exp_name}",
            settings.path.root / "outputs" / settings.name / settings.exp_name,
            asked=self.asked,
            maximise=settings.callbacks.checkpoint.mode == "max",
            search=Search(how.trials, how.startup, how.prune, how.prune_after, settings.seed),
        )

    def work(self, trials: Trials) -> None:
        """Train until all trials are taken."""
        threads = self.how.threads or max(torch.get_num_threads() // self.how.workers, 1)
        with torch_threads(threads):
            while True:
                with trials.next(self.space) as trial:
                    if trial is None:
                        return
                    self._run(trial, trials)

    def _run(self, trial: Trial, trials: Trials) -> None:
        values = " ".join(f"{key}={_shown(value)}" for key, value in trial.params.items())
        print(f"trial {trial.number:<4}{values}", flush=True)
        state = TrialState.FAIL
        try:
            state = self._train(trial, trials)
        except DiskError:
            raise
        except Exception as error:
            line = line_of(error)
            print(f"error: trial {trial.number}: {line}", file=sys.stderr, flush=True)
        ended = trials.tell(trial, state)
        if ended.value is not None:
            word = "pruned" if ended.state == TrialState.PRUNED else "done"
            print(f"trial {trial.number:<4}{word}, {self.monitor} {ended.value:.4f}", flush=True)

    def _train(self, trial: Trial, trials: Trials) -> TrialState:
        watch = Watch(trial, self.monitor, prune=self.how.prune)
        if watch.is_over():
            return TrialState.PRUNED
        log = trials.folder / str(trial.number) / "log.txt"
        with open(log, "a", encoding="utf-8") as out, redirect_stdout(out), redirect_stderr(out):
            settings = self._with(trial.params)
            Training(settings, job=trial.number, callbacks=[watch]).run()
        return TrialState.PRUNED if watch.pruned else TrialState.COMPLETE

    def _with(self, values: dict[str, Any]) -> Settings:
        chosen = [f"{key}={value}" for key, value in values.items()]
        return load([*self.fixed, *chosen, *OF_TRIALS])

    def tell(self, trials: Trials) -> Path | None:
        """What has come of it; the best checkpoint."""
        counts = trials.counts()
        print(f"trials    {', '.join(f'{count} {name}' for name, count in counts.items())}")
        best = trials.best()
        if best is None:
            if counts.get("running"):
                return None
            raise UserError(f"no trial came to its end; their logs are in {trials.folder}/*/")
        return self._tell_best(best, trials.folder / str(best.number) / "checkpoints" / BEST)

    def _tell_best(self, best: FrozenTrial, checkpoint: Path) -> Path:
        values = " ".join(f"{key}={_shown(value)}" for key, value in best.params.items())
        print(f"best      trial {best.number}, {self.monitor} {best.value:.4f}: {values}")
        print(f"test it   g5 test {checkpoint}")
        return checkpoint


def _settings(overrides: Sequence[str]) -> SweepSettings:
    return SweepFile.from_plain(resolve(composed(overrides, GROUP)), known=None).sweep


def _key(override: Override) -> str:
    key = override.key_or_group
    if key.partition(".")[0] in PLACES:
        raise UserError(f"{key}: says where or how a trial is run, and cannot be searched")
    return key


def _any(distribution: Any) -> Any:
    """A value that a trial may have, to see whether it fits."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# --- several processes --------------------------------------------------------------------------


def _with_workers(overrides: Sequence[str], count: int) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_work, args=(list(overrides),)) for _ in range(count)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except BaseException:
        for worker in workers:
            if worker.pid is not None:
                worker.terminate()
                worker.join()
        raise
    if dead := [worker.exitcode for worker in workers if worker.exitcode]:
        raise UserError(
            f"{len(dead)} of {count} workers ended early; their lines above say why, and the same "
            "command goes on with their trials"
        )


def _work(overrides: list[str]) -> None:
    """A worker's life, which ends with that of the process that started it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        asked = Sweep(overrides)
        asked.work(asked.trials())
    except KeyboardInterrupt:
        sys.exit(130)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
