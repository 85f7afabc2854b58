"""Soundscapes of ESC-10, species-trained encoders: F by class, distractors hit, recall by SNR.

    python -m experiments.esc10_soundscapes path.real_dir=DIR [key=value ...]
    python -m experiments.esc10_soundscapes shipped path.real_dir=DIR [key=value ...]
    python -m experiments.esc10_soundscapes validation [key=value ...]

Everything that is chosen is chosen on soundscapes of invented species. Trainings are those of
experiments/procedural_detection, resumed; a second call only detects.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.common import markdown, note_look, real_dir, run_as_command
from experiments.esc10_soundscapes.banks import BANKS, SEED, esc10, invented
from experiments.esc10_soundscapes.mistakes import CALLS, EVENTS, lies_on, mistakes, others
from experiments.esc10_soundscapes.soundscapes import SNR_DB, corpus, make
from experiments.procedural_detection.detectors import (
    SHIPPED,
    DetectionSetup,
    SplitResult,
    compared,
    group,
    scored,
    shipped,
    shipped_compared,
)
from experiments.procedural_detection.tables import Found, f_losses, score_table
from g5.config.settings import load
from g5.detection.corpus import predictions_of
from g5.evaluation.events.ground_truth import Truth
from g5.tracking.folders import DEFAULT
from preprocessing.events import Corpus

BANDS_DB = np.linspace(*SNR_DB, 5)


def main(arguments: Sequence[str]) -> None:
    """Make the soundscapes, train what is not trained yet, detect, print the tables."""
    if arguments and arguments[0] == "validation":
        print(f"\n{validation(arguments[1:])}")
        return
    only = bool(arguments) and arguments[0] == SHIPPED
    arguments = arguments[1:] if only else arguments
    settings = load([*([] if only else ["experiment=procedural_detection"]), *arguments])
    home = real_dir(settings)
    folder = settings.path.root / "outputs" / "esc10_soundscapes"
    tables = {
        "val": make(folder / "invented", invented, seed=SEED),
        "test": make(folder / "esc10", lambda: esc10(home), seed=SEED),
    }
    store_dir = settings.path.store
    setup = DetectionSetup(corpus(tables, store_dir), group("prototypes", {}), store_dir)
    note_look(folder / "looks.csv")
    found = shipped_compared(setup) if only else compared(setup, arguments)
    own = DEFAULT if only else "v2"
    print(f"\n{score_table(found)}\n\n{f_losses(found, own)}\n\n{f_by_class(found)}")
    print(f"\n{distractors_and_recall(found, setup.corpus, tables['test'])}")
    print(
        f"\n{mistakes_table({name: results[0] for name, results in found.items()}, setup.corpus)}"
    )


def validation(arguments: Sequence[str]) -> str:
    """The shipped encoder on invented species alone: what the method is chosen by."""
    settings = load(arguments)
    folder, store = settings.path.root / "outputs" / "esc10_soundscapes", settings.path.store
    encoder, lines, tables = shipped(), [], []
    for name, bank in BANKS.items():
        made = corpus({"val": make(folder / name, bank, seed=SEED)}, store)
        result = DetectionSetup(made, settings.detection, store).detected(encoder, "val")
        total = result.scores.overall
        cells = [f"{x:.3f}" for x in (total.fmeasure, total.precision, total.recall)]
        lines.append([name, *cells, f"{distractors_hit(result, made.events):.1%}"])
        tables.append(mistakes_table({name: result}, made))
    scores = markdown(["", "F", "precision", "recall", "distractors hit"], lines)
    return "\n\n".join([scores, *tables])


def mistakes_table(found: Mapping[str, SplitResult], corpus: Corpus) -> str:
    """What became of events and of calls, by ways to detect."""
    parts = {name: mistakes(result, corpus.events) for name, result in found.items()}
    said = [[name, *(str(events[kind]) for kind in EVENTS)] for name, (events, _) in parts.items()]
    calls = [[name, *(str(calls[kind]) for kind in CALLS)] for name, (_, calls) in parts.items()]
    return f"{markdown(['events', *EVENTS], said)}\n\n{markdown(['calls', *CALLS], calls)}"


def f_by_class(found: Found) -> str:
    """F of each class, means over training seeds."""
    labels = sorted({task.label for results in found.values() for task in results[0].tasks})
    lines = [
        [name, *(f"{np.mean([class_f(r, label) for r in results]):.3f}" for label in labels)]
        for name, results in found.items()
    ]
    return markdown(["F", *labels], lines)


def class_f(result: SplitResult, label: str) -> float:
    """F over the recordings in which a class is looked for."""
    predictions, events = predictions_of(result.tasks), result.truth.events
    truth = Truth(events.loc[events["label"] == label], result.truth.subset_of, {})
    return scored(predictions.loc[predictions["label"] == label], truth).overall.fmeasure


def distractors_and_recall(found: Found, corpus: Corpus, calls: pd.DataFrame) -> str:
    """What F hides: the share of distractors that were hit, and recall by SNR."""
    bands = [f"{a:g}-{b:g} dB" for a, b in pairwise(BANDS_DB)]
    lines = []
    for name, results in found.items():
        hit = np.mean([distractors_hit(r, corpus.events) for r in results])
        recalls = np.mean([recall_by_snr(r, calls) for r in results], axis=0)
        lines.append([name, f"{hit:.1%}", *(f"{recall:.2f}" for recall in recalls)])
    return markdown(["", "distractors hit", f"recall at {bands[0]}", *bands[1:]], lines)


def distractors_hit(result: SplitResult, events: pd.DataFrame) -> float:
    """Share of other classes' calls after the support that an event overlaps by half of either."""
    hits = []
    for task in result.tasks:
        said_P2 = task.found.events[["start_s", "end_s"]].to_numpy(float)
        hits.append(lies_on(said_P2, others(task, events)).any(axis=0))
    return float(np.concatenate(hits).mean())


def recall_by_snr(result: SplitResult, calls: pd.DataFrame) -> np.ndarray:
    """Share of the calls after the support that were found, by their ratio to the background."""
    snr_of = {
        (Path(file).stem, start): snr
        for file, start, snr in zip(calls["file"], calls["start_s"], calls["snr_db"], strict=True)
    }
    snr, found = [], []
    for unit in result.scores.units:
        name, start_T = Path(unit.name).stem, unit.reference.positive_T2[:, 0]
        snr += [snr_of[name, start] for start in start_T]
        found += unit.outcome.found_T.tolist()
    band = np.digitize(snr, BANDS_DB[1:-1])
    return np.array([np.mean(np.array(found)[band == i]) for i in range(len(BANDS_DB) - 1)])


if __name__ == "__main__":
    run_as_command(main)
