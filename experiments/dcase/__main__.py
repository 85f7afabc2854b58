"""The validation set of DCASE 2024 Task 5 by the shipped encoder, as the official evaluator counts.

    g5 data fetch dcase2024 -o dcase2024
    python -m experiments.dcase path.eval_dir=.../Validation_Set [key=value]

Each recording is searched for itself with its first five calls; what lies between these is all that
is known of its background. Nothing is chosen on this set.
"""

import sys
from collections.abc import Sequence

import pandas as pd
import torch

from experiments.common import markdown, note_look, run_as_command
from experiments.procedural_detection.detectors import SHOTS, shipped
from g5.common.errors import UserError
from g5.config.parts import corpus_of
from g5.config.settings import Settings, load
from g5.detection.corpus import detect_corpus, detector_of, predictions_of
from g5.evaluation.events.ground_truth import Truth, read_predictions, read_truth
from g5.evaluation.events.matching import FAIR, OFFICIAL
from g5.evaluation.events.scores import EventScores, f_interval, score_events
from preprocessing.annotations import write_events

BLOCK_S = 30.0
OWN = "`default`"
# Of the whole validation set, percent: precision, recall, F. Of its subsets we know no figures that
# are published as text. The sets of 2023 are not those of 2024.
PUBLISHED = (
    ("baseline of 2024 (its README)", "56.18", "48.64", "52.14"),
    ("template matching, set of 2023 (its results page)", "", "", "3.4"),
    ("Du_NERCSLIP_2, first on the evaluation set of 2023 (same page)", "", "", "75.6"),
)


def main(arguments: Sequence[str]) -> None:
    """Detect, score, print the tables."""
    settings = load(["data=dcase", *arguments])
    eval_dir = settings.path.eval_dir
    if eval_dir is None:
        raise UserError(
            "path.eval_dir: say where the Validation_Set lies; g5 data fetch dcase2024 gets it"
        )
    folder = settings.path.root / "outputs" / "dcase"
    truth, problems = read_truth(eval_dir)
    for problem in problems:
        _warn(str(problem))
    found = write_events(detected(settings), folder / "predictions.csv", "csv")
    note_look(folder / "looks.csv")
    predictions, _ = read_predictions(found, truth)
    print(f"predictions  {found}\n\n{tables(predictions, truth)}")


def detected(settings: Settings) -> pd.DataFrame:
    """Events of every recording that has more calls than are support, as an events table."""
    corpus = corpus_of(settings)
    detector, sounds = detector_of(
        shipped(), settings.detection, settings.path.store, device=torch.device("cpu"),
        block_s=BLOCK_S, rules=settings.audio,
    )  # fmt: skip
    tasks = detect_corpus(
        detector,
        sounds,
        corpus,
        "val",
        shots=SHOTS,
        problem=lambda text: _warn(f"left out: {text}"),
    )
    return predictions_of(list(tasks)).drop(columns="name")


def tables(predictions: pd.DataFrame, truth: Truth) -> str:
    """Scores by subset, and over all beside what is published."""
    scores = {mode: score_events(predictions, truth, mode=mode) for mode in (OFFICIAL, FAIR)}
    official, fair = scores[OFFICIAL], scores[FAIR]
    rows = [
        [
            name, str(sum(subset == name for subset in truth.subset_of.values())),
            str(counts.tp + counts.fn),
            *_percent(official, name), _percent(fair, name)[-1],
        ]
        for name, counts in official.subset_counts.items()
    ]  # fmt: skip
    head = ["subset", "recordings", "calls", "precision", "recall", "F", "F fair"]
    span = f_interval(official)
    within = f"; 95 % of F over recordings {span[0]:.1%} to {span[1]:.1%}" if span else ""
    others = markdown(
        ["all subsets, official, %", "precision", "recall", "F"],
        [[OWN, *_percent(official)], *map(list, PUBLISHED)],
    )
    return f"{markdown(head, rows)}\n\n{others}\n\n{OWN}: F fair {_percent(fair)[-1]}{within}"


def _percent(scores: EventScores, subset: str | None = None) -> list[str]:
    one = scores.overall if subset is None else scores.subsets[subset]
    return [f"{100 * share:.2f}" for share in (one.precision, one.recall, one.fmeasure)]


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


if __name__ == "__main__":
    run_as_command(main)
