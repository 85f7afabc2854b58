"""What a job records in MLflow: its configuration, tags, files, and how to look at them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from g5 import __version__
from g5.common.atomic import write_text
from g5.common.revision import git_revision
from g5.common.secrets import redacted
from g5.common.words import counted
from g5.config.settings import Settings
from g5.tracking.folders import RunFolder
from g5.tracking.mlflow.logger import MLflowLogger
from g5.tracking.mlflow.places import local_uri, notice_old_mlruns, say
from preprocessing.events import Corpus


def write_config(settings: Settings, path: Path) -> Path:
    """The resolved configuration as YAML."""
    return write_text(path, yaml.safe_dump(settings.plain(), sort_keys=False, allow_unicode=True))


@contextmanager
def recording(
    settings: Settings,
    folder: RunFolder,
    corpus: Corpus,
    *,
    name: str,
    resume: bool,
    parent: Path | None = None,
) -> Iterator[MLflowLogger | None]:
    """An open MLflow run with configuration and tags; None where `logger.enabled` is false.

    Args:
        settings: of the run.
        folder: remembers the MLflow run, so that resuming continues it.
        corpus: whose hashes become tags.
        name: of the MLflow run.
        resume: continue the run that ``folder`` remembers.
        parent: the folder of a multirun or a sweep that this is one of.
    """
    # A test in place leaves what the training run said of itself.
    describe = settings.train or not folder.config_file.exists()
    if describe:
        write_config(settings, folder.config_file)
    if not settings.logger.enabled:
        yield None
        return
    with MLflowLogger(
        root=settings.path.root,
        experiment=settings.logger.experiment or settings.name,
        run_name=name,
        folder=folder,
        resume=resume,
        tracking_uri=settings.logger.tracking_uri,
        system_metrics=settings.logger.system_metrics,
        server_wait_s=settings.logger.server_wait_s,
        parent=parent,
    ) as logger:
        if describe:
            _describe(logger, settings, folder, corpus)
        yield logger
    notice = notice_old_mlruns(settings.path.root)
    if notice and logger.tracking_uri == local_uri(settings.path.root):
        say(notice)


def _describe(logger: MLflowLogger, settings: Settings, folder: RunFolder, corpus: Corpus) -> None:
    """What a run is: params, tags, and its configuration as a file."""
    logger.log_config({key: value for key, value in settings.plain().items() if key != "resume"})
    logger.set_tags(
        {
            "arch": settings.arch.name,
            "budget": budget_of(settings),
            "data": data_named(settings),
            "git_revision": git_revision(),
            "data_hash": corpus.data_hash,
            "split_hash": corpus.split_hash,
            "split_file": corpus.split_file,
            "fold": settings.data.values.get("fold"),
            "g5_version": __version__,
            "job": "train" if settings.train else "test",
        }
    )
    logger.log_artifact(folder.config_file)
    what = "Trains" if settings.train else "Tests"
    trained = f", {budget_of(settings)}" if settings.train else ""
    logger.describe("run", f"{what} {settings.arch.name} on {data_named(settings)}{trained}.")


def budget_of(settings: Settings) -> str:
    """How much a run trains, in words."""
    epochs, size = settings.arch.training.max_epochs, settings.arch.episodes.episodes_per_epoch
    return f"{counted(epochs, 'epoch')} of {counted(size, 'episode')}"


def data_named(settings: Settings) -> str:
    """The data as the list of runs calls them: their kind, and the folder or table."""
    kind = settings.data.target.rpartition(".")[2].removesuffix("Data").lower()
    place = settings.data.values.get("root") or settings.data.values.get("train_dir")
    return kind if kind == "procedural" or not place else f"{kind} {Path(place).name}"


def how_to_open(logger: MLflowLogger) -> str:
    """The command that shows the run."""
    if logger.tracking_uri == logger.local_uri:
        return f"mlflow ui --port 5000    (from {logger.root})"
    return redacted(logger.tracking_uri)
