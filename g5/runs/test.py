"""Test a checkpoint: `g5 test`, `train=false`, and the end of every training run."""

import shlex
import sys
from pathlib import Path

from g5.config.changes import deciding, differences
from g5.config.settings import Settings
from g5.evaluation.episodes.protocol import TestProtocol, run_test
from g5.evaluation.episodes.result import TestResult
from g5.evaluation.report.about import About
from g5.evaluation.report.gallery import draw_test
from g5.evaluation.report.model_card import write_model_card
from g5.evaluation.report.report import write_report
from g5.evaluation.report.summary import summary_text
from g5.runs.events import event_scores
from g5.runs.tested import Tested, TestRequest, opened
from g5.tracking.folders import RunFolder
from g5.tracking.history import read_history
from g5.tracking.record import how_to_open
from g5.tracking.restore import Restored
from g5.training.setup import device_of, set_matmul_precision


def evaluate_checkpoint(request: TestRequest) -> TestResult:
    """Test a checkpoint on the episodes of its own configuration, with what the user says on top.

    Where recordings have more than five calls of a class, their events are scored, too. Errors are
    those of `opened`.
    """
    with opened(request) as tested:
        result = report_test(tested)
        event_scores(tested)
        return result


def report_test(tested: Tested) -> TestResult:
    """Run the test, write its numbers and figures, log them, and print the summary."""
    settings = tested.settings
    set_matmul_precision(settings)
    result = run_test(
        tested.model, tested.split, TestProtocol.of(settings), device=device_of(settings)
    )
    places: dict[str, str | Path] = {"checkpoint": tested.restored.path.resolve()}
    places |= _write(result, tested)
    print()
    name, encoding = settings.arch.name, sys.stdout.encoding
    print(summary_text(result, name=name, places=places, encoding=encoding))
    return result


def _write(result: TestResult, tested: Tested) -> dict[str, str | Path]:
    """Numbers first, then figures, report and model card, and all of it to MLflow; where it is."""
    settings, restored = tested.settings, tested.restored
    folder, logger = tested.folder, tested.logger
    files = result.save(folder.path)
    if logger is not None:
        # What was found is safe before anything is drawn of it.
        logger.log_metrics(result.metrics())
        logger.describe("test", result.headline())
        for file in files:
            logger.log_artifact(file)
    own = folder.path.name == settings.exp_name
    about = About(
        run=folder.path.name if own else f"{settings.exp_name}/{folder.path.name}",
        restored=restored,
        settings=settings,
        corpus=tested.corpus,
        command=_command(restored, settings),
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
            logger.log_figure(figure.path)
        places["MLflow"] = how_to_open(logger)
    return places


def _card_place(folder: RunFolder, restored: Restored) -> Path:
    """Beside the checkpoint where this is its run's own test, else beside the test's numbers."""
    own = restored.path.resolve().parent == folder.checkpoints.resolve()
    return (folder.checkpoints if own else folder.path) / "MODEL_CARD.md"


def _command(restored: Restored, settings: Settings) -> str:
    """What repeats the test: the checkpoint, and the protocol where it is not the checkpoint's."""
    value = deciding(settings, "test")
    values = [
        f"{key}={value[key]}"
        for key in differences(restored.settings, settings, "test")
        if key == "seed" or key.startswith("arch.episodes.")
    ]
    return " ".join(["g5 test", shlex.quote(str(restored.path)), *values])
