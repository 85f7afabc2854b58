"""Train v1 and v2 on procedural species, detect unseen ones by five calls, print the table.

    python -m experiments.procedural_detection [seeds=1,2,3] [key=value ...]

Training is resumed: a second call only detects.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conf.compose import composed
from conf.parts import data_of, root_of
from conf.validate import resolve
from detection.corpus import Task, detect_corpus, detector_of, predictions_of, truth_of
from evaluation.event_scores import EventScores, bootstrap, oracle, score_events
from experiments import run_as_command
from jobs.train import run
from preprocessing.events import Corpus
from tracking.restore import restore

SHOTS = 5
ARCHS = ("v2", "v1")
# Recordings to detect in: two species each, so that one's calls are the other's distractors.
EVENTS = (
    "data.train_species=2", "data.recordings_per_species=1", "data.species_per_recording=2",
    "data.calls_per_recording=20", "data.recording_s=120", "data.snr_db=[0,20]",
)  # fmt: skip
# What the energy detector may be, chosen on validation recordings.
BANDS_HZ = ((100, 11025), (500, 11025), (1000, 11025), (500, 4000), (2000, 11025))
SMOOTH_S = (0.05, 0.1, 0.3)
THRESHOLDS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0)


def main(arguments: Sequence[str]) -> None:
    """Train what is not trained yet, choose the energy detector, detect, print a table."""
    seeds = [int(s) for a in arguments if a.startswith("seeds=") for s in a[6:].split(",")]
    rest = [a for a in arguments if not a.startswith("seeds=")]
    given = [a.partition("=")[2] for a in rest if a.startswith("checkpoints=")]
    rest = [a for a in rest if not a.startswith("checkpoints=")]
    config = resolve(composed(["experiment=procedural_detection", *EVENTS, *rest]))
    corpus = data_of(config).load()
    found: dict[str, list[tuple[EventScores, float]]] = {}
    lowest = energy = None
    for seed, arch in itertools.product(seeds or [1, 2, 3], ARCHS):
        path = _checkpoint(arch, seed, rest, given[0] if given else None, config)
        found.setdefault(arch, []).append(detected(path, corpus, config, "test", {}))
        told(f"{arch}, seed {seed}", found[arch][-1])
        lowest = lowest or path
    assert lowest is not None
    # Neither needs an encoder: any checkpoint lends its front end.
    found["template"] = [detected(lowest, corpus, config, "test", _group("template", {}))]
    told("template", found["template"][0])
    energy = choose_energy(lowest, corpus, config)
    found["energy"] = [detected(lowest, corpus, config, "test", _group("energy", energy))]
    told(f"energy {energy}", found["energy"][0])
    print(table(found))


def _checkpoint(
    arch: str, seed: int, rest: Sequence[str], given: str | None, config: Mapping[str, Any]
) -> Path:
    if given is not None:
        return Path(given) / f"{arch}_seed{seed}.ckpt"
    overrides = [f"arch={arch}", "experiment=procedural_detection", f"seed={seed}", *rest]
    run(resolve(composed(overrides)))
    name = f"{arch}_seed{seed}"
    folder = root_of(config) / "outputs" / "procedural_detection" / name
    return folder / "checkpoints" / "best_checkpoint.ckpt"


def _group(choice: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {**resolve(composed([f"detection={choice}"]))["detection"], **values}


def tasks_of(
    checkpoint: Path, corpus: Corpus, config: Mapping[str, Any], split: str,
    detection: Mapping[str, Any],
) -> list[Task]:  # fmt: skip
    """Every species of a split in every recording."""
    detector, sounds = detector_of(
        restore(checkpoint), detection or config["detection"],
        root_of(config) / "outputs" / "store", device=torch.device("cpu"), block_s=30.0,
    )  # fmt: skip
    return list(detect_corpus(detector, sounds, corpus, split, shots=SHOTS))


def detected(
    checkpoint: Path, corpus: Corpus, config: Mapping[str, Any], split: str,
    detection: Mapping[str, Any],
) -> tuple[EventScores, float]:  # fmt: skip
    """The fair scores of a split, and the F of an oracle's threshold."""
    tasks = tasks_of(checkpoint, corpus, config, split, detection)
    truth = truth_of(tasks, split)
    scores = score_events(predictions_of(tasks), truth, mode="fair", n_shots=SHOTS)
    best = oracle(predictions_of(tasks, candidates=True), truth, mode="fair", n_shots=SHOTS)
    return scores, best[0] if best else float("nan")


def choose_energy(checkpoint: Path, corpus: Corpus, config: Mapping[str, Any]) -> dict[str, float]:
    """Band, averaging and threshold with the best F on the validation recordings."""
    best: tuple[float, dict[str, float]] = (-1.0, {})
    for band, smooth_s, threshold in itertools.product(BANDS_HZ, SMOOTH_S, THRESHOLDS):
        values = {
            "low_hz": band[0], "high_hz": band[1], "smooth_s": smooth_s, "threshold": threshold,
        }  # fmt: skip
        tasks = tasks_of(checkpoint, corpus, config, "val", _group("energy", values))
        truth = truth_of(tasks, "val")
        scores = score_events(predictions_of(tasks), truth, mode="fair", n_shots=SHOTS)
        if scores.overall.fmeasure > best[0]:
            best = scores.overall.fmeasure, values
    return best[1]


def told(name: str, result: tuple[EventScores, float]) -> None:
    """One line at once: the whole takes a while."""
    scores, best = result
    total = scores.overall
    print(
        f"{name}: F {total.fmeasure:.3f}, precision {total.precision:.3f}, recall "
        f"{total.recall:.3f}, oracle {best:.3f}", flush=True,
    )  # fmt: skip


def table(found: Mapping[str, Sequence[tuple[EventScores, float]]]) -> str:
    """Markdown, one row per way to detect."""
    lines = [
        "", "| | seeds | F | precision | recall | 95 % of F over recordings | oracle gap |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: |",
    ]  # fmt: skip
    for name, results in found.items():
        totals = [scores.overall for scores, _ in results]
        f = np.array([total.fmeasure for total in totals])
        spread = f" ± {f.std(ddof=1):.3f}" if len(f) > 1 else ""
        spans = [span for scores, _ in results if (span := bootstrap(scores)) is not None]
        low, high = np.mean(spans, axis=0) if spans else (np.nan, np.nan)
        gap = np.mean([max(best - scores.overall.fmeasure, 0.0) for scores, best in results])
        lines.append(
            f"| {name} | {len(f)} | {f.mean():.3f}{spread} | "
            f"{np.mean([t.precision for t in totals]):.3f} | "
            f"{np.mean([t.recall for t in totals]):.3f} | {low:.3f} to {high:.3f} | {gap:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_as_command(main)
