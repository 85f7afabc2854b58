"""What both detection experiments do: detect a split in some way, score it, choose a rival.

A rival's settings are chosen on validation recordings with the answers in hand; ours come from the
support.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from experiments.common import finished
from experiments.v2_vs_v1.runs import SEEDS, euclidean
from g5.common.errors import UserError
from g5.config.schema import DetectionSettings
from g5.config.settings import load
from g5.detection.corpus import (
    DetectionTask,
    detect_corpus,
    detector_of,
    detector_with,
    predictions_of,
    truth_of,
)
from g5.detection.detector import Detector
from g5.detection.embedding.own_window import OwnWindowEmbedder, frames_for
from g5.embeddings.encoders.loading import load_encoder
from g5.evaluation.events.ground_truth import Truth
from g5.evaluation.events.scores import EventScores, oracle, score_events
from g5.tracking.folders import DEFAULT
from g5.tracking.restore import Restored, restore
from preprocessing.events import Corpus

SHOTS = 5
SHIPPED = "shipped"  # of both commands
# What the energy detector may be.
SMOOTH = (0.1, 0.3, 0.6)
FLOORS_S = (0.0, 5.0, 20.0)
LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
# Correlations that template matching may cut at.
CORRELATIONS = (0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.97, 0.98, 0.99)


@dataclass(frozen=True)
class DetectionSetup:
    """What everything is detected on.

    Attributes:
        corpus: recordings and calls.
        detection: how, where nothing else is asked for.
        store_dir: folder of stores.
    """

    corpus: Corpus
    detection: DetectionSettings
    store_dir: Path

    def detected(
        self, restored: Restored, split: str, detection: DetectionSettings | None = None, *,
        judge: Restored | None = None,
    ) -> "SplitResult":  # fmt: skip
        """Every class of a split in every recording, as ``detection`` (or the usual) finds it.

        ``judge`` compares the embeddings of ``restored``, whose encoder it shares.
        """
        _, tasks = self._tasks(restored, split, detection or self.detection, judge)
        return SplitResult(tasks, split)

    def _tasks(
        self, restored: Restored, split: str, detection: DetectionSettings,
        judge: Restored | None = None,
    ) -> tuple[Detector, list[DetectionTask]]:  # fmt: skip
        detector, sounds = detector_of(
            restored, detection, self.store_dir, device=torch.device("cpu"), block_s=30.0
        )
        if judge is not None:
            detector.embedder.model = judge.model
        return detector, list(detect_corpus(detector, sounds, self.corpus, split, shots=SHOTS))

    def chosen(self, restored: Restored, choice: str) -> tuple[dict[str, Any], float]:
        """The settings of a rival with the best F on validation recordings, and that F."""
        key = {"template": "correlation", "energy": "least"}[choice]
        best: tuple[float, dict[str, Any]] = (-1.0, {})
        for values, thresholds in candidates(choice):
            settings = group(choice, {**values, key: thresholds[0]})
            detector, tasks = self._tasks(restored, "val", settings)
            truth = truth_of(tasks, "val")
            for threshold in thresholds:
                found = []
                for task in tasks:
                    curve = replace(task.found.curve, threshold=threshold)
                    target = task.found.target
                    sound = target.shots[0].sound  # the support is of the same recording
                    events = detector.events(
                        sound, target, curve, detector.calibration(curve, target)
                    )
                    found.append(replace(task, found=replace(task.found, events=events)))
                f = scored(predictions_of(found), truth).overall.fmeasure
                if f > best[0]:
                    best = f, {**values, key: threshold}
        return best[1], best[0]


def candidates(choice: str) -> Iterable[tuple[dict[str, Any], Sequence[float]]]:
    """What a rival may be, and the thresholds to try with each."""
    if choice == "template":
        yield {}, CORRELATIONS
        return
    for smooth, floor_s in itertools.product(SMOOTH, FLOORS_S):
        yield {"smooth": smooth, "floor_s": floor_s}, LEVELS


def group(choice: str, values: Mapping[str, Any]) -> DetectionSettings:
    """A `detection` group with some of its scorer's values changed."""
    return changed(load([f"detection={choice}"]).detection, values)


def changed(detection: DetectionSettings, values: Mapping[str, Any]) -> DetectionSettings:
    """The settings with some of the scorer's values changed."""
    scorer = replace(detection.scorer, values={**detection.scorer.values, **values})
    return replace(detection, scorer=scorer)


def scored(predictions: pd.DataFrame, truth: Truth) -> EventScores:
    """Fair scores."""
    return score_events(predictions, truth, mode="fair", n_shots=SHOTS)


@dataclass(frozen=True)
class SplitResult:
    """What a way to detect has found in a split."""

    tasks: Sequence[DetectionTask]
    split: str

    @cached_property
    def truth(self) -> Truth:
        return truth_of(self.tasks, self.split)

    @cached_property
    def scores(self) -> EventScores:
        return scored(predictions_of(self.tasks), self.truth)

    @cached_property
    def oracle(self) -> float:
        """The F of the best threshold, chosen with the answers in hand."""
        best = oracle(
            predictions_of(self.tasks, candidates=True), self.truth, mode="fair", n_shots=SHOTS
        )
        return best[0] if best else float("nan")


def trained_encoder(arch: str, seed: int, arguments: Sequence[str]) -> Restored:
    """An encoder of `conf/experiment/procedural_detection.yaml`, trained where it is not yet."""
    overrides = [f"arch={arch}", "experiment=procedural_detection", f"seed={seed}"]
    return restore(finished(load([*overrides, *arguments])).best)


class SplitResults(dict[str, list[SplitResult]]):
    """By ways to detect, a result for each training seed."""

    def add(self, name: str, result: SplitResult) -> None:
        """Keep it, and print its scores."""
        self.setdefault(name, []).append(result)
        total = result.scores.overall
        print(
            f"{name}: F {total.fmeasure:.3f}, precision {total.precision:.3f}, recall "
            f"{total.recall:.3f}, oracle {result.oracle:.3f}", flush=True,
        )  # fmt: skip


def shipped() -> Restored:
    """The encoder `default`."""
    restored = load_encoder(DEFAULT, ()).restored
    assert restored is not None
    return restored


def shipped_compared(setup: DetectionSetup) -> SplitResults:
    """The test recordings by the shipped encoder, the energy detector, and BirdNET if installed."""
    found, own = SplitResults(), shipped()
    found.add(DEFAULT, setup.detected(own, "test"))
    values, f = setup.chosen(own, "energy")
    print(f"energy detector: {values}, F {f:.3f} on validation recordings", flush=True)
    found.add("energy detector, chosen", setup.detected(own, "test", group("energy", values)))
    try:
        birdnet = load_encoder("birdnet", ())
    except UserError as error:
        print(f"left out: {error}")
        return found
    front_end = frames_for(birdnet, load([]).features.front_end)
    embedder = OwnWindowEmbedder(
        birdnet, front_end, setup.store_dir, device=torch.device("cpu"),
        batch=setup.detection.batch, workers=1,
    )  # fmt: skip
    detector, sounds = detector_with(embedder, setup.detection, block_s=30.0)
    tasks = list(detect_corpus(detector, sounds, setup.corpus, "test", shots=SHOTS))
    found.add("birdnet", SplitResult(tasks, "test"))
    return found


def compared(setup: DetectionSetup, arguments: Sequence[str]) -> SplitResults:
    """The test recordings by every way to detect, a result for each training seed."""
    found = SplitResults()
    for seed in SEEDS:
        v2 = trained_encoder("v2", seed, arguments)
        found.add("v2", setup.detected(v2, "test"))
        found.add("v2, Euclidean distance", setup.detected(v2, "test", judge=euclidean(v2)))
    # These need no encoder: any checkpoint lends its front end.
    lent = trained_encoder("v2", SEEDS[0], arguments)
    found.add("template matching", setup.detected(lent, "test", group("template", {})))
    for choice, name in (("template", "template matching"), ("energy", "energy detector")):
        values, f = setup.chosen(lent, choice)
        print(f"{name}: {values}, F {f:.3f} on validation recordings", flush=True)
        found.add(f"{name}, chosen", setup.detected(lent, "test", group(choice, values)))
    for seed in SEEDS:
        found.add("v1", setup.detected(trained_encoder("v1", seed, arguments), "test"))
    return found
