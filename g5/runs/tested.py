"""A checkpoint on its way to a test: settings, data, the folder of the results, the MLflow run."""

import filecmp
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from g5.common.errors import UserError, unreadable
from g5.config.changes import deciding, differences, short_hash
from g5.config.earlier import first_config
from g5.config.parts import corpus_of, feature_set_of, log_mel_set_of
from g5.config.settings import Settings, check_settings
from g5.config.stored import classes_named, overridden
from g5.evaluation.episodes.protocol import TestedModel, TestedSplit
from g5.tracking.checkpoints import ANOTHER, BEST
from g5.tracking.folders import RunFolder, claim, find
from g5.tracking.mlflow.logger import MLflowLogger
from g5.tracking.record import recording
from g5.tracking.restore import Restored, restore
from g5.training.setup import prepare_torch
from preprocessing.audio import content_hash
from preprocessing.events import Corpus
from preprocessing.feature_set import FeatureSet


@dataclass(frozen=True)
class TestRequest:
    """What the user asks to be tested.

    Attributes:
        checkpoint: a path, or its name without the accuracy.
        overrides: of data, protocol, trainer and logger.
        arch: what the user takes it for; another architecture's checkpoint is refused.
        values: keys set as they are: a path may hold what the overrides' grammar refuses.
        job: number of a multirun job.
    """

    __test__ = False  # not a test case

    checkpoint: str | Path
    overrides: Sequence[str] = ()
    arch: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    job: int | None = None


@dataclass(frozen=True)
class Tested:
    """What is tested on what, and where the results go.

    Attributes:
        settings: of the test.
        restored: the checkpoint.
        feature_set: the corpus in its front end.
        folder: for numbers and figures.
        logger: the open MLflow run, or None.
    """

    __test__ = False  # not a test case

    settings: Settings
    restored: Restored
    feature_set: FeatureSet
    folder: RunFolder
    logger: MLflowLogger | None

    @property
    def corpus(self) -> Corpus:
        """Recordings and calls."""
        return self.feature_set.corpus

    @property
    def model(self) -> TestedModel:
        """The model and what it knows from its training."""
        return TestedModel.of(self.restored)

    @property
    def split(self) -> TestedSplit:
        """The test split, in the model's front end and in log-mel."""
        log_mel = log_mel_set_of(self.settings, self.feature_set)
        return TestedSplit(self.corpus, "test", self.feature_set.reader, log_mel.reader)


@contextmanager
def opened(request: TestRequest) -> Iterator[Tested]:
    """What a test of a checkpoint needs, its MLflow run open.

    Raises:
        UserError: for a checkpoint that cannot be used, an override of what it fixes, or data
            that cannot be tested on.
    """
    path, message = find(request.checkpoint)
    if message:
        print(message)
    restored = restore(path, known=classes_named(request.overrides))
    trained, job = restored.settings.arch.name, request.job
    if request.arch not in (None, trained):
        raise UserError(
            f"{path}: a checkpoint of {trained}, not of {request.arch}; say arch={trained}"
        )
    settings = _settings_of(restored, request)
    prepare_torch(settings)
    corpus = corpus_of(settings)
    corpus.raise_if_fatal()
    feature_set = feature_set_of(settings, corpus, restored.front_end)
    name, exp_name = settings.name, settings.exp_name
    if job is None:
        job = _job_of(path, settings.path.root / "outputs" / name / exp_name)
    with claim(settings.path.root, name, exp_name, training=False, resume=False, job=job) as folder:
        key = _key(settings, restored, corpus, folder)
        home = folder if key is None else _home(folder, key, settings, corpus)
        home.path.mkdir(exist_ok=True)
        parts = [exp_name, None if job is None else str(job), key and home.path.name]
        shown = "/".join(part for part in parts if part)
        parent = None if job is None else folder.path.parent
        with recording(settings, home, corpus, name=shown, resume=True, parent=parent) as logger:
            yield Tested(settings, restored, feature_set, home, logger)


def _settings_of(restored: Restored, request: TestRequest) -> Settings:
    """The checkpoint's settings with what the user says on top, as those of a test."""
    root = _root_of(restored)
    with unreadable(restored.path, advice=ANOTHER):
        chosen = overridden(restored.config, request.overrides, request.values, root=root)
    settings = chosen.but(
        {
            "train": False,
            "test": True,
            "resume": False,
            "arch.training.load_weight_from": str(restored.path),
        }
    )
    check_settings(settings)
    return settings


def _root_of(restored: Restored) -> str | None:
    """The root of the run in whose folder a checkpoint lies; None where it lies in none."""
    own = ("outputs", restored.settings.name, restored.settings.exp_name)
    run = restored.path.resolve().parent.parent
    found = next((folder for folder in (run, run.parent) if folder.parts[-3:] == own), None)
    root = found and found.parents[2]
    return None if root is None or root == Path.cwd() else str(root)


def _job_of(path: Path, folder: Path) -> int | None:
    """The number of the multirun's job under ``folder`` that a checkpoint lies in."""
    run = path.resolve().parent.parent
    return int(run.name) if run.parent == folder and run.name.isdigit() else None


def _key(settings: Settings, restored: Restored, corpus: Corpus, folder: RunFolder) -> str | None:
    """Eight hex digits for what makes a test another one than the run's own; None for that.

    Another test has a folder and an MLflow run of its own.
    """
    other = corpus.data_hash != restored.header["data_hash"]
    other = other or bool(differences(restored.settings, settings, "test"))
    decides = deciding(settings, "test").items()
    facts = [[key, value] for key, value in decides if not key.startswith("data.")]
    facts.append(["data_hash", corpus.data_hash])
    if not _is_best(restored.path, folder):
        facts.append(["weights", content_hash(restored.path)])
        other = True
    return short_hash(facts) if other else None


def _home(folder: RunFolder, key: str, settings: Settings, corpus: Corpus) -> RunFolder:
    """The folder of another test: the one that an earlier g5 named, where there is one."""
    plain = first_config(settings.plain())
    facts = [plain["seed"], plain["arch"]["episodes"], plain["features"], corpus.data_hash]
    checkpoint = Path(str(settings.arch.training.load_weight_from))
    if not _is_best(checkpoint, folder):
        facts.append(content_hash(checkpoint))
    earlier = folder.path / f"test-{short_hash(facts)}"
    return RunFolder(earlier if earlier.is_dir() else folder.path / f"test-{key}")


def _is_best(path: Path, folder: RunFolder) -> bool:
    """Whether a checkpoint is the run's best, whose test is the run's; or there is no other."""
    best = folder.checkpoints / BEST
    return not best.exists() or filecmp.cmp(path, best, shallow=False)
