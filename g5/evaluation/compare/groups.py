"""Tested runs of one configuration together, and the pairs of runs that saw the same episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.config.build import indifferent_keywords
from g5.config.changes import flatten
from g5.config.node import NONE_NAMED, Node
from g5.config.settings import Settings, marked
from g5.evaluation.compare.compared_runs import ComparedRun
from g5.evaluation.intervals import (
    Interval,
    mean_interval,
    resampled_interval,
    share_interval,
)

CLASS_RESAMPLES = 2_000  # of classes and sources
# What makes the same episodes; in the order in which a difference is told.
PROTOCOL = (
    "split", "n_way", "k_shot", "n_query", "episodes", "cross_source", "data_hash", "split_hash",
    "split_file", "seed", "episodes_hash",
)  # fmt: skip
# Marks of keys that make no other configuration.
SAME = ("repetition", "mode", "indifferent")

Unit = tuple[int, int | None]  # seed and fold


@dataclass(frozen=True)
class Group:
    """Runs of one configuration, one for each seed and fold."""

    name: str
    runs: Mapping[Unit, ComparedRun]

    @property
    def accuracy(self) -> Interval:
        """Over the episodes of all its runs."""
        return mean_interval(np.concatenate([run.accuracy_E for run in self.runs.values()]))

    @property
    def answers(self) -> tuple[np.ndarray, np.ndarray]:
        """True and predicted labels of all its runs."""
        true_A, predicted_A = (
            np.concatenate([run.answers[name].to_numpy(str) for run in self.runs.values()])
            for name in ("label", "predicted")
        )
        return true_A, predicted_A

    @property
    def recalls(self) -> dict[str, Interval]:
        """The recall of each class, its interval over sources."""
        return {
            str(label): share_interval(rows["hit"].to_numpy(), rows["source"].to_numpy(str))
            for label, rows in self._hits.groupby(self._hits["label"].astype(str))
        }

    @property
    def _hits(self) -> pd.DataFrame:
        """All answers, with ``hit``."""
        return pd.concat([run.answers.assign(hit=run.hit_A) for run in self.runs.values()])

    @property
    def resampled(self) -> Interval:
        """Over resampled classes and sources of all its runs."""
        answers = self._hits
        return resampled_interval(
            answers["hit"].to_numpy(float), answers["label"].to_numpy(str),
            answers["source"].to_numpy(str), seed=0, resamples=CLASS_RESAMPLES,
        )  # fmt: skip


def grouped(runs: Sequence[ComparedRun], *, folds: bool) -> list[Group]:
    """Runs of one configuration together; they differ in the seed, and with ``folds`` in the fold.

    Raises:
        UserError: a run is given twice.
    """
    groups: dict[str, dict[Unit, ComparedRun]] = {}
    for run in runs:
        key = repr(sorted(settings_of(run, folds=folds).items()))
        unit = (run.seed, run.fold if folds else None)
        if unit in (members := groups.setdefault(key, {})):
            where = f"seed {unit[0]}" + (f", fold {unit[1]}" if folds else "")
            raise UserError(
                f"{members[unit].name} and {run.name} are the same configuration with {where}: "
                "leave one away" + ("" if folds else ", or compare runs that differ")
            )
        members[unit] = run
    named = zip(_names([list(members.values()) for members in groups.values()]),
                groups.values(), strict=True)  # fmt: skip
    return [Group(name, members) for name, members in named]


def _names(groups: list[list[ComparedRun]]) -> list[str]:
    """What the user calls each group, with as much more as tells them apart."""
    names = [runs[0].name if len(runs) == 1 else runs[0].name.partition("/")[0] for runs in groups]
    for more in (lambda run: str(run.config["arch"]["name"]), lambda run: f"({run.name})"):
        clashing = {name for name in names if names.count(name) > 1}
        names = [
            f"{name} {more(runs[0])}" if name in clashing else name
            for name, runs in zip(names, groups, strict=True)
        ]
    return names


def settings_of(run: ComparedRun, *, folds: bool) -> dict[str, str]:
    """What makes the run's configuration another one, as flat keys."""
    of_data = indifferent_keywords(Node.of(run.config["data"], NONE_NAMED))
    without = [key for mark in SAME for key in marked(Settings, mark)]
    without += [f"data.{key}" for key in (*of_data, *(["fold"] if folds else []))]
    return {
        key: value
        for key, value in flatten(run.config).items()
        if not any(key == name or key.startswith(f"{name}.") for name in without)
    }


def config_differences(groups: Sequence[Group], *, folds: bool) -> pd.DataFrame:
    """The keys in which the groups differ (rows), and their values (a column each group)."""
    settings = {
        group.name: settings_of(next(iter(group.runs.values())), folds=folds) for group in groups
    }
    keys = sorted({key for values in settings.values() for key in values})
    table = pd.DataFrame(
        {name: [values.get(key, "") for key in keys] for name, values in settings.items()},
        index=pd.Index(keys, name="key"),
    )
    return table.loc[table.nunique(axis=1) > 1]


def paired(first: Group, second: Group) -> list[tuple[ComparedRun, ComparedRun]]:
    """The runs of both groups with the same seed and fold, which saw the same test episodes.

    Raises:
        UserError: there are none, or a pair was tested otherwise; the message says how.
    """
    units = [unit for unit in first.runs if unit in second.runs]
    if not units:
        raise UserError(
            f"{first.name} and {second.name} cannot be paired: they share no seed"
            f" (seeds {_seeds(first)} and {_seeds(second)}), so their test episodes differ; train "
            "or test both with the same seed"
        )
    pairs = [(first.runs[unit], second.runs[unit]) for unit in units]
    for a, b in pairs:
        _refuse_other_protocol(a, b)
    return pairs


def _seeds(group: Group) -> str:
    return ", ".join(str(seed) for seed in sorted({seed for seed, _ in group.runs}))


def _refuse_other_protocol(a: ComparedRun, b: ComparedRun) -> None:
    for key in PROTOCOL:
        ours, theirs = a.protocol.get(key), b.protocol.get(key)
        if ours == theirs:
            continue
        advice = {
            "data_hash": "the recordings or annotations differ",
            "split_hash": "the classes and recordings of the splits differ",
            "split_file": "the split files differ",
            "episodes_hash": "the episodes differ",
        }.get(key, "test both alike")
        raise UserError(
            f"{a.name} and {b.name} cannot be paired: {key} is {ours} and {theirs}; {advice}"
        )
    same = np.array_equal(a.answers["row"].to_numpy(), b.answers["row"].to_numpy())
    if not same or len(a.accuracy_E) != len(b.accuracy_E):
        raise UserError(
            f"{a.name} and {b.name} cannot be paired: their answers are to other queries"
        )
