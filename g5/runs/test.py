"""Test a checkpoint: `g5 test`, `train=false`, and the end of every training run."""

import filecmp
import hashlib
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g5.common.errors import UserError
from g5.config.changes import OF_A_TEST, differences
from g5.config.parts import data_of, feature_set_of, log_mel_set_of, root_of
from g5.config.stored import on_checkpoint
from g5.config.validate import validate
from g5.evaluation.episodes.protocol import run_test
from g5.evaluation.episodes.raw_features import RawStatistics
from g5.evaluation.episodes.result import TestResult
from g5.evaluation.report.about import About
from g5.evaluation.report.gallery import draw_test
from g5.evaluation.report.model_card import write_model_card
from g5.evaluation.report.report import write_report
from g5.evaluation.report.summary import summary_text
from g5.runs.events import event_scores
from g5.tracking.checkpoints import BEST, find
from g5.tracking.folders import RunFolder, claim
from g5.tracking.history import read_history
from g5.tracking.mlflow_logger import MLflowLogger
from g5.tracking.record import how_to_open, recording
from g5.tracking.restore import Restored, restore
from g5.training.setup import device_of, prepare_torch, set_matmul_precision
from preprocessing.feature_set import FeatureSet


def evaluate_checkpoint(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    arch: str | None = None,
    values: Mapping[str, Any] | None = None,
    job: int | None = None,
) -> TestResult:
    """Test a checkpoint on the episodes of its own configuration with ``overrides`` on top.

    Where recordings have more than five calls of a class, their events are scored, too.

    Args:
        path: a checkpoint, or its name without the accuracy.
        overrides: of data, protocol, trainer and logger.
        job: number of a multirun job.
        values: keys set as they are: a path may hold what the overrides' grammar refuses.
        arch: what the user takes it for; another architecture's checkpoint is refused.

    Raises:
        UserError: for a checkpoint that cannot be used, an override of what it fixes, or data
            that cannot be tested on.
    """
    with on_checkpoint_of(path, overrides, arch=arch, values=values, job=job) as tested:
        result = evaluate(
            tested.config, tested.restored, tested.feature_set, tested.folder, tested.logger
        )
        event_scores(
            tested.config, tested.restored, tested.feature_set.corpus, tested.folder, tested.logger
        )
        return result


@dataclass(frozen=True)
class Tested:
    """A checkpoint on its way to a test: what it is tested on, and where the results go."""

    config: dict[str, Any]
    restored: Restored
    feature_set: FeatureSet
    folder: RunFolder
    logger: MLflowLogger | None

    @property
    def raw(self) -> FeatureSet:
        """The same corpus in log-mel, for raw features."""
        return log_mel_set_of(self.config, self.feature_set)


@contextmanager
def on_checkpoint_of(
    path: str | Path,
    overrides: Sequence[str],
    *,
    arch: str | None = None,
    values: Mapping[str, Any] | None = None,
    job: int | None = None,
) -> Iterator[Tested]:
    """What a test of a checkpoint needs, its MLflow run open; as for `evaluate_checkpoint`."""
    path, message = find(path)
    if message:
        print(message)
    restored = restore(path)
    trained = restored.config["arch"]["name"]
    if arch is not None and arch != trained:
        raise UserError(f"{path}: a checkpoint of {trained}, not of {arch}; say arch={trained}")
    config = on_checkpoint(restored.config, overrides, values or {}).plain()
    config |= {"train": False, "test": True, "resume": False}
    config["arch"]["training"]["load_weight_from"] = str(path)
    validate(config)
    prepare_torch(config)
    corpus = data_of(config).load()
    corpus.raise_if_fatal()
    feature_set = feature_set_of(config, corpus, restored.front_end)
    root, names = root_of(config), (config["name"], config["exp_name"])
    if job is None:
        job = _job_of(path, root / "outputs" / names[0] / names[1])
    with claim(root, *names, training=False, resume=False, job=job) as folder:
        other = corpus.data_hash != restored.header["data_hash"] or differences(
            restored.config, config, OF_A_TEST
        )
        facts = [config["seed"], config["arch"]["episodes"], config["features"], corpus.data_hash]
        if not _is_best(path, folder):
            with path.open("rb") as file:
                other, facts = True, [*facts, hashlib.file_digest(file, "sha256").hexdigest()]
        # Another test than the run's own has a folder and an MLflow run of its own.
        own = not other
        home = folder if own else RunFolder(folder.path / f"test-{_key(facts)}")
        home.path.mkdir(exist_ok=True)
        name = "/".join(
            [names[1], *([] if job is None else [str(job)]), *([] if own else [home.path.name])]
        )
        with recording(config, home, corpus, name=name, resume=True) as logger:
            yield Tested(config, restored, feature_set, home, logger)


def _job_of(path: Path, folder: Path) -> int | None:
    """The number of the multirun's job under ``folder`` that a checkpoint lies in."""
    run = path.resolve().parent.parent
    return int(run.name) if run.parent == folder and run.name.isdigit() else None


def _is_best(path: Path, folder: RunFolder) -> bool:
    """Whether a checkpoint is the run's best, whose test is the run's; or there is no other."""
    best = folder.checkpoints / BEST
    return not best.exists() or filecmp.cmp(path, best, shallow=False)


def _key(facts: Sequence[Any]) -> str:
    """Eight hex digits for what makes a test another test."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def evaluate(
    config: Mapping[str, Any],
    restored: Restored,
    feature_set: FeatureSet,
    folder: RunFolder,
    logger: MLflowLogger | None,
) -> TestResult:
    """Run the test, write its numbers and figures, log them, and print the summary.

    Args:
        config: resolved; `arch.episodes`, `seed` and `trainer` are used.
        restored: what is tested.
        feature_set: the corpus in the checkpoint's front end.
        folder: where the numbers and figures go.
        logger: the open MLflow run, or None.
    """
    episodes = config["arch"]["episodes"]
    raw = log_mel_set_of(config, feature_set)
    set_matmul_precision(config)
    result = run_test(
        model=restored.model,
        normalize=restored.normalize,
        corpus=feature_set.corpus,
        reader_for=feature_set.reader,
        raw_reader_for=raw.reader,
        trained_labels=restored.label_map["train"],
        trained_recordings=restored.header.get("trained_recordings", ()),
        raw_statistics=RawStatistics(**restored.header["raw_statistics"]),
        split="test",
        n_way=episodes["n_way"],
        k_shot=episodes["k_shot"],
        n_query=episodes["n_query"],
        episodes=episodes["test_episodes"],
        cross_source=episodes["cross_source"],
        seed=config["seed"],
        batch_size=episodes["n_way"] * (episodes["k_shot"] + episodes["n_query"]),
        device=device_of(config),
        temperature=restored.temperature,
        views=episodes["test_views"],
        refine=episodes["test_refine"],
    )
    places: dict[str, str | Path] = {"checkpoint": restored.path.resolve()}
    places |= _write(result, config, restored, feature_set, folder, logger)
    name = config["arch"]["name"]
    print()
    print(summary_text(result, name=name, places=places, encoding=sys.stdout.encoding))
    return result


def _write(
    result: TestResult,
    config: Mapping[str, Any],
    restored: Restored,
    feature_set: FeatureSet,
    folder: RunFolder,
    logger: MLflowLogger | None,
) -> dict[str, str | Path]:
    """Numbers first, then figures, report and model card, and all of it to MLflow; where it is."""
    files = result.save(folder.path)
    if logger is not None:
        # What was found is safe before anything is drawn of it.
        logger.log_metrics(result.metrics())
        for file in files:
            logger.log_artifact(file)
    own = folder.path.name == config["exp_name"]
    about = About(
        run=folder.path.name if own else f"{config['exp_name']}/{folder.path.name}",
        restored=restored,
        config=config,
        corpus=feature_set.corpus,
        command=_command(restored, config),
    )
    history = folder.path / "history.csv"
    if history.exists():
        files.append(history)
    figures = draw_test(
        result,
        about.events(result),
        folder.figures,
        history=read_history(history) if history.exists() else None,
    )
    report = write_report(folder.path / "report.html", result, about, figures)
    card = write_model_card(_card_place(folder, restored), result, about)
    places: dict[str, str | Path] = {"report": report, "figures": folder.figures}
    if logger is not None:
        if history.exists():
            files.append(history)  # `g5 compare` overlays it
        for file in (report, card):
            logger.log_artifact(file)
        for figure in figures.values():
            logger.log_artifact(figure.path, "figures")
        places["MLflow"] = how_to_open(logger)
    return places


def _card_place(folder: RunFolder, restored: Restored) -> Path:
    """Beside the checkpoint where this is its run's own test, else beside the test's numbers."""
    own = restored.path.resolve().parent == folder.checkpoints.resolve()
    return (folder.checkpoints if own else folder.path) / "MODEL_CARD.md"


def _command(restored: Restored, config: Mapping[str, Any]) -> str:
    """What repeats the test: the checkpoint, and the protocol where it is not the checkpoint's."""
    changed = differences(restored.config, config, ("arch.episodes", "seed"))
    values = []
    for key in changed:
        value: Any = config
        for part in key.split("."):
            value = value[part]
        values.append(f"{key}={value}")
    return " ".join(["g5 test", shlex.quote(str(restored.path)), *values])
