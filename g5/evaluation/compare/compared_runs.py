"""Tested runs, read back from `outputs/` or from MLflow.

Shapes: E episodes.
"""

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from g5.common.errors import UserError
from g5.common.secrets import redacted
from g5.config.earlier import updated
from g5.tracking.folders import ANSWERS, EPISODES, SCORES
from g5.tracking.history import read_history
from g5.tracking.mlflow.places import check_answers, local_uri, quiet_mlflow, short

CONFIG, HISTORY = "config.yaml", "history.csv"
RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class ComparedRun:
    """What a tested run left.

    Attributes:
        name: how the user knows it.
        config: resolved.
        protocol: as `g5.evaluation.episodes.result.ProtocolFacts`, a mapping.
        accuracy_E: of each test episode.
        answers: one row per query, ``episode, row, label, predicted, source`` among its columns.
        history: its epochs; None where there is no training beside it.
    """

    name: str
    config: Mapping[str, Any]
    protocol: Mapping[str, Any]
    accuracy_E: np.ndarray
    answers: pd.DataFrame
    history: pd.DataFrame | None

    @property
    def seed(self) -> int:
        """Of the training."""
        return int(self.config["seed"])

    @property
    def fold(self) -> int | None:
        """Of a cross-validation."""
        return self.config["data"].get("fold")

    @property
    def hit_A(self) -> np.ndarray:
        """Whether each answer is right."""
        return (
            self.answers["label"].astype(str) == self.answers["predicted"].astype(str)
        ).to_numpy()


def find_runs(reference: str, root: Path) -> list[ComparedRun]:
    """The runs that a reference means.

    Args:
        reference: a run's folder, a multirun's folder (all its jobs), a run's name (of a folder
            under ``outputs/``, or in MLflow), or an MLflow run id.
        root: where ``outputs/`` and ``mlflow.db`` lie.
    Raises:
        UserError: there is none, it was not tested, or what it left cannot be read.
    """
    folder = Path(reference).expanduser()
    if folder.is_dir():
        return _in_folder(folder)
    if folder.is_file():
        raise UserError(f"{reference}: a file; give a run's folder, its name or its MLflow run id")
    named = [path for path in root.glob("outputs/*/*") if path.name == reference and path.is_dir()]
    if len(named) > 1:
        places = " or ".join(str(path) for path in named)
        raise UserError(f"{reference}: may be {places}; give the folder")
    if named:
        return _in_folder(named[0])
    return [_from_mlflow(reference, root)]


def _in_folder(folder: Path) -> list[ComparedRun]:
    """The folder's own run, or those of its numbered jobs."""
    if (folder / SCORES).exists():
        return [_read(folder, folder.name if not folder.name.isdigit() else _job_name(folder))]
    jobs = [path for path in folder.glob("*") if path.name.isdigit() and path.is_dir()]
    if not jobs:
        raise UserError(
            f"{folder}: no {SCORES} in it; test the run first: g5 test "
            f"{folder / 'checkpoints' / 'best_checkpoint.ckpt'}"
        )
    return [
        run for path in sorted(jobs, key=lambda path: int(path.name)) for run in _in_folder(path)
    ]


def _job_name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _read(folder: Path, name: str) -> ComparedRun:
    lacking = [part for part in (SCORES, EPISODES, ANSWERS, CONFIG) if not (folder / part).exists()]
    if lacking:
        raise UserError(f"{name}: {', '.join(lacking)} missing in {folder}; test the run again")
    try:
        protocol = json.loads((folder / SCORES).read_text(encoding="utf-8"))["protocol"]
        accuracy_E = pd.read_parquet(folder / EPISODES)["accuracy"].to_numpy()
        answers = pd.read_parquet(folder / ANSWERS)
        config = updated(yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")))
    except (ValueError, LookupError, TypeError, AttributeError, OSError, yaml.YAMLError) as error:
        raise UserError(
            f"{name}: its test in {folder} cannot be read ({short(error)}); test it again"
        ) from error
    history = read_history(folder / HISTORY) if (folder / HISTORY).exists() else None
    return ComparedRun(name, config, protocol, accuracy_E, answers, history)


# --- MLflow -----------------------------------------------------------------------------------


def _from_mlflow(reference: str, root: Path) -> ComparedRun:
    quiet_mlflow()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or local_uri(root)
    place = redacted(uri)
    try:
        check_answers(uri, create=False)
    except Exception as error:
        raise UserError(
            f"{reference}: no such folder, no run of that name under {root / 'outputs'}, and no "
            f"MLflow at {place} ({short(error)})"
        ) from error
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    try:
        run = _mlflow_run(client, reference, place)
        name = run.info.run_name or reference
        with tempfile.TemporaryDirectory() as folder:
            _download(client, run.info.run_id, name, Path(folder))
            return _read(Path(folder), name)
    except MlflowException as error:
        raise UserError(f"{reference}: MLflow at {place} says: {short(error)}") from error


def _mlflow_run(client: Any, reference: str, place: str) -> Any:
    if RUN_ID.fullmatch(reference):
        return client.get_run(reference)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    name = reference.replace("'", "\\'")
    runs = client.search_runs(ids, f"attributes.run_name = '{name}'") if ids else []
    if not runs:
        raise UserError(
            f"{reference}: no such folder, no run of that name under outputs/, and none in MLflow "
            f"at {place}"
        )
    if len(runs) > 1:
        shown = ", ".join(run.info.run_id for run in runs[:3]) + " ..." * (len(runs) > 3)
        raise UserError(
            f"{reference}: {len(runs)} MLflow runs have this name ({shown}); give a run id"
        )
    return runs[0]


def _download(client: Any, run_id: str, name: str, folder: Path) -> None:
    there = {item.path for item in client.list_artifacts(run_id)}
    if SCORES not in there:
        raise UserError(
            f"MLflow run {name} ({run_id}) has {'no artifacts' if not there else f'no {SCORES}'}: "
            "it was not tested, or its artifacts lie elsewhere; run g5 test on its checkpoint"
        )
    for part in (SCORES, EPISODES, ANSWERS, CONFIG, HISTORY):
        if part in there:
            client.download_artifacts(run_id, part, str(folder))
