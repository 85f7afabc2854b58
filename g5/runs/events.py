"""Event scores of a checkpoint beside its episodes: `g5 test` on data with a time axis."""

import sys

from g5.common.atomic import write_json
from g5.common.errors import UserError
from g5.common.words import printable
from g5.detection.corpus import detect_corpus, detector_of, predictions_of, truth_of
from g5.evaluation.events.matching import FAIR, N_SHOTS
from g5.evaluation.events.report import Evaluation, evaluate_events, event_summary
from g5.runs.tested import Tested
from g5.training.setup import device_of
from preprocessing.annotations import write_events
from preprocessing.events import Corpus


def event_scores(tested: Tested) -> Evaluation | None:
    """Detect every class in every test recording from its first five calls, and score the events.

    Writes ``event_scores.json`` and ``events.csv`` into the test's folder, logs both and the
    numbers ``test/event_...`` of mode fair, and prints them.

    Returns:
        None where no recording has more than five calls of a class, or detection is not possible.
    """
    settings, folder, logger = tested.settings, tested.folder, tested.logger
    corpus = tested.feature_set.corpus
    if not _has_tasks(corpus):
        return None
    try:
        detector, sounds = detector_of(
            tested.restored,
            settings.detection,
            settings.path.store,
            device=device_of(settings),
            block_s=settings.features.block_s,
            rules=settings.audio,
        )
    except UserError as error:
        _warn("no event scores", error)
        return None
    tasks = list(
        detect_corpus(
            detector, sounds, corpus, "test", shots=N_SHOTS,
            problem=lambda text: _warn("left out of the event scores", text),
        )
    )  # fmt: skip
    if not tasks:
        return None
    lengths = dict(zip(corpus.recordings["file"], corpus.recordings["duration_s"], strict=True))
    found = predictions_of(tasks)
    result = evaluate_events(
        found, truth_of(tasks, durations_s=lengths), mode=FAIR,
        candidates=predictions_of(tasks, candidates=True),
    )  # fmt: skip
    files = [
        write_json(folder.path / "event_scores.json", result.chosen.plain()),
        write_events(found.drop(columns="name"), folder.path / "events.csv", "csv"),
    ]
    if logger is not None:
        logger.log_metrics(result.metrics())
        logger.describe("events", f"Events: F {result.chosen.overall.fmeasure:.1%}.")
        for file in files:
            logger.log_artifact(file)
    print(f"\n{printable(event_summary(result), sys.stdout.encoding)}")
    return result


def _has_tasks(corpus: Corpus) -> bool:
    calls = corpus.split("test").groupby(["file", "label"]).size()
    return bool((calls > N_SHOTS).any())


def _warn(what: str, why: object) -> None:
    print(f"warning: {what}: {why}", file=sys.stderr)
