"""The trials of a sweep, which many processes share: who takes which, and what has come of them."""

import contextlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import optuna
import pytorch_lightning as pl
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState

from g5.common.atomic import lock_file, one_at_a_time
from g5.common.errors import UserError
from g5.common.secrets import redacted
from g5.tracking.callbacks import FreshMetrics
from g5.tracking.mlflow.places import made_once, short, sqlite_uri

Space = dict[str, BaseDistribution]
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
ASKED = "asked"  # what the sweep was begun with


@dataclass(frozen=True)
class Search:
    """How Optuna searches.

    Attributes:
        trials: in all.
        startup: of them, those drawn at random; they are not pruned.
        prune: whether trials are ended early.
        prune_after: validations that every trial may have.
        seed: the first trials do not depend on who runs them.
    """

    trials: int
    startup: int
    prune: bool
    prune_after: int
    seed: int


class Trials:
    """A study of Optuna's and a folder with a lock for each trial.

    A trial that is running, and whose lock is free, is one of a process that was killed: the next
    that asks goes on with it.

    Args:
        storage: address of Optuna's.
        name: of the study.
        folder: of the sweep, with a folder for each trial in it.
        asked: what is searched, and what is the same for all; plain values.
        maximise: whether a higher value is better.
        search: how.

    Raises:
        UserError: the storage cannot be used, or the sweep was begun with something else.
    """

    def __init__(
        self,
        storage: str,
        name: str,
        folder: Path,
        *,
        asked: Mapping[str, Any],
        maximise: bool,
        search: Search,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self.search = folder, search
        with self._alone():
            try:
                self.study = optuna.create_study(
                    storage=_opened(storage), study_name=name, load_if_exists=True,
                    direction="maximize" if maximise else "minimize", pruner=_pruner(search),
                )  # fmt: skip
            except Exception as error:
                raise UserError(
                    f"sweep.storage: {redacted(storage)} cannot be used ({short(error)})"
                ) from error
            self._check(asked)

    def _check(self, asked: Mapping[str, Any]) -> None:
        """A sweep goes on only as it began, and where its trials lie."""
        begun = self.study.user_attrs.get(ASKED)
        if begun is None:
            self.study.set_user_attr(ASKED, json.dumps(asked))
            return
        if changed := _changed(json.loads(begun), asked):
            raise UserError(
                f"{changed}: differs from the sweep in {self.folder}, which would go on; leave it "
                "as it was, or start another with exp_name=..."
            )
        best = self.best()
        if best is not None and not (self.folder / str(best.number)).is_dir():
            raise UserError(
                f"{self.folder}: has no trial {best.number} of the sweep that would go on; put "
                "the folder back, or start another with exp_name=..."
            )

    @contextlib.contextmanager
    def next(self, space: Space) -> Iterator[Trial | None]:
        """A trial that is this process's own inside; None when all are taken."""
        with contextlib.ExitStack() as stack:
            with self._alone():
                trial = self._killed(space, stack) or self._new(space, stack)
            yield trial

    def _killed(self, space: Space, stack: contextlib.ExitStack) -> Trial | None:
        """A trial whose process has died; what it had not drawn yet is drawn."""
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            # It may have come to its end, and been let go, since they were listed.
            if self._take(frozen.number, stack) and not self._has_ended(frozen):
                self.study.sampler = _sampler(self.search, frozen.number)
                trial = Trial(self.study, frozen._trial_id)
                for name, values in space.items():
                    trial._suggest(name, values)
                return trial
        return None

    def _new(self, space: Space, stack: contextlib.ExitStack) -> Trial | None:
        number = len(self.study.get_trials(deepcopy=False))
        if number >= self.search.trials:
            return None
        self._take(number, stack)
        # Of its own seed, so that it does not depend on who draws it.
        self.study.sampler = _sampler(self.search, number)
        return self.study.ask(fixed_distributions=space)

    def _take(self, number: int, stack: contextlib.ExitStack) -> bool:
        folder = self.folder / str(number)
        folder.mkdir(exist_ok=True)
        handle = open(folder / ".trial", "w", encoding="utf-8")  # noqa: SIM115
        if lock_file(handle, wait=False):
            stack.enter_context(handle)
            return True
        handle.close()
        return False

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(self.folder / ".trials"):
            yield

    def tell(self, trial: Trial, state: TrialState) -> FrozenTrial:
        """How it ended; its value is the best of its validations."""
        values = list(self._frozen(trial).intermediate_values.values())
        best = max if self.study.direction == optuna.study.StudyDirection.MAXIMIZE else min
        if state == TrialState.FAIL or not values:
            return self.study.tell(trial.number, state=TrialState.FAIL)
        # Also of a pruned one: Optuna takes that of its last validation.
        value = best(values) if state == TrialState.COMPLETE else None
        return self.study.tell(trial.number, value, state=state)

    def _has_ended(self, trial: FrozenTrial) -> bool:
        return self._frozen(trial).state in ENDED

    def _frozen(self, trial: Trial | FrozenTrial) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[trial.number]

    def counts(self) -> dict[str, int]:
        """How many trials ended how: ``complete``, ``pruned``, ``fail``, ``running``."""
        states = [trial.state for trial in self.study.get_trials(deepcopy=False)]
        return {
            state.name.lower(): states.count(state)
            for state in (*ENDED, TrialState.RUNNING)
            if state in states
        }

    def best(self) -> FrozenTrial | None:
        """The best of those that were complete."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return self.study.best_trial if done else None


class Watch(FreshMetrics):
    """Tells a trial of every validation, before it is saved, and ends a training that is pruned.

    Args:
        trial: whose values these are.
        monitor: the metric.
        prune: whether it may be ended.
    """

    def __init__(self, trial: Trial, monitor: str, *, prune: bool) -> None:
        super().__init__()
        self.trial, self.monitor, self.prune = trial, monitor, prune
        self.pruned = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = self.fresh(trainer).get(self.monitor)
        if value is None or value != value:
            return
        with warnings.catch_warnings():
            # An epoch that is done again after a kill was told before.
            warnings.simplefilter("ignore")
            self.trial.report(value, trainer.current_epoch)
        if self.is_over():
            trainer.should_stop = True

    def is_over(self) -> bool:
        """Whether the trial is not worth to go on."""
        self.pruned = self.prune and bool(self.trial.should_prune())
        return self.pruned


def _opened(storage: str) -> optuna.storages.BaseStorage | str:
    """A database on this machine is made by one process, and waited for when others write."""
    if not storage.startswith("sqlite:///"):
        return storage

    def make(temporary: Path) -> None:
        optuna.storages.RDBStorage(sqlite_uri(temporary)).engine.dispose()

    made_once(Path(unquote(storage.removeprefix("sqlite:///"))), make)
    return optuna.storages.RDBStorage(storage, engine_kwargs={"connect_args": {"timeout": 60}})


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    if not search.prune:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=search.startup, n_warmup_steps=search.prune_after
    )


def _sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of these are called experimental
        return optuna.samplers.TPESampler(
            seed=(search.seed + number) % 2**32, n_startup_trials=search.startup,
            multivariate=True, constant_liar=True,
        )  # fmt: skip


def _changed(begun: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    keys = sorted(begun.keys() | asked.keys())
    return next((key for key in keys if begun.get(key) != asked.get(key)), None)


def distribution(override: Override) -> BaseDistribution:
    """What an override of Hydra's searches: ``a,b``, ``range(1,9,2)``, ``interval(0,1)``.

    ``tag(log,interval(...))`` is searched in logarithms, ``int(interval(1,9))`` in whole numbers.
    """
    sweep: Any = override.value()
    log = "log" in sweep.tags
    try:
        if override.is_interval_sweep():
            whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
            if not (math.isfinite(sweep.start) and math.isfinite(sweep.end)):
                raise ValueError("it has no end")
            kind = IntDistribution if whole else FloatDistribution
            return kind(sweep.start, sweep.end, log=log)
        if override.is_range_sweep():
            values = [*sweep.range()]
            if values and all(isinstance(value, int) for value in values):
                return IntDistribution(min(values), max(values), step=abs(sweep.step))
        return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))
    except (ValueError, HydraException) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{override.key_or_group}: cannot be searched ({line})") from error
