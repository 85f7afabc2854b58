"""Test a checkpoint: `g5 test`, `train=false`, and the end of every training run."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conf.compose import on_checkpoint
from conf.parts import data_of, material_of, raw_material_of, root_of
from conf.validate import validate
from evaluation.figures import confusion_matrix, per_class_accuracy, training_curves
from evaluation.history import read_history
from evaluation.protocol import run_test
from evaluation.result import TestResult
from evaluation.summary import summary_text
from jobs.setup import device_of, prepare_torch
from preprocessing.errors import UserError
from preprocessing.material import Material
from tracking.checkpoints import find
from tracking.folders import RunFolder, claim
from tracking.restore import Restored, restore


def test_checkpoint(
    path: str | Path, overrides: Sequence[str] = (), *, arch: str | None = None
) -> TestResult:
    """Test a checkpoint on the episodes of its own configuration with ``overrides`` on top.

    Args:
        path: a checkpoint, or its name without the accuracy.
        overrides: of data, protocol, trainer and logger.
        arch: what the user takes it for; another architecture's checkpoint is refused.

    Raises:
        UserError: for a checkpoint that cannot be used, an override of what it fixes, or data
            that cannot be tested on.
    """
    path, message = find(path)
    if message:
        print(message)
    restored = restore(path)
    trained = restored.config["arch"]["name"]
    if arch is not None and arch != trained:
        raise UserError(f"{path}: a checkpoint of {trained}, not of {arch}; say arch={trained}")
    config = on_checkpoint(restored.config, overrides)
    config |= {"train": False, "test": True, "resume": False}
    config["arch"]["training"]["load_weight_from"] = str(path)
    validate(config)
    prepare_torch(config)
    corpus = data_of(config).load()
    corpus.raise_if_fatal()
    material = material_of(config, corpus, restored.front_end)
    with claim(
        root_of(config), config["name"], config["exp_name"], training=False, resume=False, job=None
    ) as folder:
        same = not overrides and corpus.data_hash == restored.header["data_hash"]
        logger = None
        result = test(config, restored, material, folder, same_protocol=same, logger=logger)
    return result


def test(
    config: Mapping[str, Any],
    restored: Restored,
    material: Material,
    folder: RunFolder,
    *,
    same_protocol: bool,
    logger: Any,
) -> TestResult:
    """Run the test, write its numbers and figures, log them, and print the summary.

    Args:
        config: resolved; `arch.episodes`, `seed` and `trainer` are used.
        restored: what is tested.
        material: the corpus in the checkpoint's front end.
        folder: of the run; another protocol than the run's own gets a folder of its own in it.
        same_protocol: whether this is the run's own protocol.
        logger: the run's MLflow record, or None.
    """
    episodes = config["arch"]["episodes"]
    raw = raw_material_of(config, material)
    result = run_test(
        model=restored.model,
        normalize=restored.normalize,
        corpus=material.corpus,
        reader_for=material.reader,
        raw_reader_for=raw.reader,
        split="test",
        n_way=episodes["n_way"],
        k_shot=episodes["k_shot"],
        n_query=episodes["n_query"],
        episodes=episodes["test_episodes"],
        cross_source=episodes["cross_source"],
        seed=config["seed"],
        batch_size=episodes["n_way"] * (episodes["k_shot"] + episodes["n_query"]),
        device=device_of(config),
    )
    home = folder.path if same_protocol else folder.path / f"test-{result.protocol.key}"
    files = [*result.save(home), *draw(result, home / "figures")]
    history = folder.path / "history.csv"
    if same_protocol and history.exists():
        figure = folder.figures / "training.png"
        files.append(training_curves(read_history(history), figure, chance=result.chance))
    if logger is not None:
        logger.log_test(result.metrics(), files)
    places: dict[str, str | Path] = {"checkpoint": restored.path, "figures": home / "figures"}
    if logger is not None:
        places["MLflow"] = logger.how_to_open()
    name = config["arch"]["name"]
    print()
    print(summary_text(result, name=name, places=places, encoding=sys.stdout.encoding))
    return result


def draw(result: TestResult, folder: Path) -> list[Path]:
    """The test's figures."""
    classes, labels = result.scores.classes, result.scores.labels
    return [
        confusion_matrix(classes.confusion_CC, labels, folder / "confusion.png"),
        per_class_accuracy(
            classes.accuracy_C, classes.support_C, labels, folder / "per_class_accuracy.png",
            interval=result.interval, chance=result.chance,
        ),  # fmt: skip
    ]
