"""What a job records in MLflow: its configuration, tags, files, and how to look at them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from g5 import __version__
from g5.common.atomic import atomic_path
from g5.common.revision import git_revision
from g5.config.parts import root_of
from g5.tracking.folders import RunFolder
from g5.tracking.mlflow_logger import MLflowLogger
from g5.tracking.mlflow_places import local_uri, notice_old_mlruns, redacted, say
from preprocessing.events import Corpus


def write_config(config: Mapping[str, Any], path: Path) -> Path:
    """The resolved configuration as YAML."""
    with atomic_path(path) as temporary:
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")
    return path


@contextmanager
def recording(
    config: Mapping[str, Any], folder: RunFolder, corpus: Corpus, *, name: str, resume: bool
) -> Iterator[MLflowLogger | None]:
    """An open MLflow run with configuration and tags; None where `logger.enabled` is false.

    Args:
        config: resolved.
        folder: remembers the MLflow run, so that resuming continues it.
        corpus: whose hashes become tags.
        name: of the MLflow run.
        resume: continue the run that ``folder`` remembers.
    """
    # A test in place leaves what the training run said of itself.
    describe = config["train"] or not folder.config_file.exists()
    if describe:
        write_config(config, folder.config_file)
    settings = config["logger"]
    if not settings["enabled"]:
        yield None
        return
    with MLflowLogger(
        root=root_of(config),
        experiment=config["name"],
        run_name=name,
        folder=folder,
        resume=resume,
        tracking_uri=settings["tracking_uri"],
        system_metrics=settings["system_metrics"],
    ) as logger:
        if describe:
            _describe(logger, config, folder, corpus)
        yield logger
    notice = notice_old_mlruns(root_of(config))
    if notice and logger.tracking_uri == local_uri(root_of(config)):
        say(notice)


def _describe(
    logger: MLflowLogger, config: Mapping[str, Any], folder: RunFolder, corpus: Corpus
) -> None:
    """What a run is: params, tags, and its configuration as a file."""
    logger.log_config({key: value for key, value in config.items() if key != "resume"})
    logger.set_tags(
        {
            "arch": config["arch"]["name"],
            "git_revision": git_revision(),
            "data_hash": corpus.data_hash,
            "split_hash": corpus.split_hash,
            "split_file": corpus.split_file,
            "fold": config["data"].get("fold"),
            "g5_version": __version__,
            "job": "train" if config["train"] else "test",
        }
    )
    logger.log_artifact(folder.config_file)


def how_to_open(logger: MLflowLogger) -> str:
    """The command that shows the run."""
    if logger.tracking_uri == logger.local_uri:
        return f"mlflow ui --port 5000    (from {logger.root})"
    return redacted(logger.tracking_uri)
