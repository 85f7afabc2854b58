"""All figures of one test, each with the sentences that belong under it."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from g5.embeddings.projection import METHODS, Method, has_umap
from g5.evaluation.episodes.result import TestResult
from g5.evaluation.figures.answers import confidence_histogram, reliability_diagram
from g5.evaluation.figures.classes import confusion_matrix, per_class_accuracy
from g5.evaluation.figures.curves import training_curves
from g5.evaluation.figures.maps import embedding_map


@dataclass(frozen=True)
class Drawn:
    """A figure's file, its title, and how to read it."""

    path: Path
    title: str
    caption: str


def draw_test(
    result: TestResult, events: pd.DataFrame, folder: Path, *, history: pd.DataFrame | None
) -> dict[str, Drawn]:
    """Draw everything a test can show: ``training`` (with a history), ``per_class``,
    ``confusion``, ``reliability``, ``confidence`` and a map ``embeddings_...`` for each method.

    Args:
        events: the tested split's table, whose rows the result counts.
        folder: where the PNG go.
        history: of the training, if there is one (`g5.tracking.history.read_history`).
    """
    drawn = {} if history is None else {"training": _training(history, result.chance, folder)}
    return drawn | {
        "per_class": _per_class(result, folder),
        "confusion": _confusion(result, folder),
        "reliability": _reliability(result, folder),
        "confidence": _confidence(result, folder),
        **_maps(result, events, folder),
    }


def _per_class(result: TestResult, folder: Path) -> Drawn:
    classes = result.scores.classes
    path = per_class_accuracy(
        classes.accuracy_C,
        classes.support_C,
        result.scores.labels,
        folder / "per_class_accuracy.png",
        interval=result.interval,
        chance=result.chance,
    )
    caption = "The share of each class's queries that were right, and how many there were."
    return Drawn(path, "Accuracy of each class", caption)


def _confusion(result: TestResult, folder: Path) -> Drawn:
    path = confusion_matrix(
        result.scores.classes.confusion_CC, result.scores.labels, folder / "confusion.png"
    )
    caption = (
        "A row is what a class is taken for. Classes that are often confused are neighbours. A "
        "class can only be taken for another where both are in an episode."
    )
    return Drawn(path, "Confusions", caption)


def _reliability(result: TestResult, folder: Path) -> Drawn:
    scores = result.scores
    path = reliability_diagram(
        scores.probability_A,
        scores.hit_A,
        folder / "reliability.png",
        chance=result.chance,
        error=scores.probabilities.ece,
        remark=f"temperature {scores.temperature:.3g}",
    )
    caption = (
        "Of the answers given with a confidence of 80 %, are 80 % right? Below the dashed line the "
        "model is too sure, above it not sure enough. The temperature was fitted on validation."
    )
    return Drawn(path, "Can its confidence be believed?", caption)


def _confidence(result: TestResult, folder: Path) -> Drawn:
    scores = result.scores
    path = confidence_histogram(
        scores.probability_A, scores.hit_A, folder / "confidence.png", chance=result.chance
    )
    caption = (
        "Where right and wrong answers lie apart, a threshold on the confidence keeps the ones and "
        "drops the others."
    )
    return Drawn(path, "Confidence of right and wrong answers", caption)


def _maps(result: TestResult, events: pd.DataFrame, folder: Path) -> dict[str, Drawn]:
    if result.clips is None or len(result.clips.row_P) < 3:
        return {}
    rows = result.clips.row_P
    labels, sources = (events[name].to_numpy(str)[rows] for name in ("label", "source"))
    methods: list[Method] = ["pca", "tsne", "umap"] if has_umap() else ["pca", "tsne"]
    captions = {
        "pca": "The two directions in which the test clips differ most. ",
        "tsne": "Near clips stay near; distances between groups mean nothing. ",
        "umap": "Near clips stay near; distances between groups mean little. ",
    }
    told = (
        "The same map twice: groups of one colour on the left mean that classes were learned, on "
        "the right that recordings were."
    )
    drawn = {}
    for method in methods:
        path = embedding_map(
            result.clips.z_PD,
            np.asarray(labels).tolist(),
            _without_folder(np.asarray(sources).tolist()),
            folder / f"embeddings_{method}.png",
            method=method,
            seed=result.protocol.seed,
        )
        title = f"Embeddings by {METHODS[method]}"
        drawn[f"embeddings_{method}"] = Drawn(path, title, captions[method] + told)
    return drawn


def _without_folder(sources: list[str]) -> list[str]:
    """Sources that are files, as seen from the folder they share."""
    if not all(os.path.isabs(source) for source in sources):
        return sources
    shared = os.path.commonpath([os.path.dirname(source) for source in sources])
    return [os.path.relpath(source, shared) for source in sources]


def _training(history: pd.DataFrame, chance: float, folder: Path) -> Drawn:
    path = training_curves(history, folder / "training.png", chance=chance)
    return Drawn(path, "Training", "The star is the epoch whose weights were tested.")
