"""Learn the weights of `detection.look` for the shipped encoder, and write them to their place.

    python -m experiments.second_look [key=value ...]

The place is `conf/detection/common/default.yaml`. Recordings are of three generators (`sets.py`),
none of them of the seeds that anything is validated on.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from experiments.common import run_as_command
from experiments.procedural_detection.detectors import shipped
from experiments.second_look.sets import corpora
from g5.common.atomic import write_text
from g5.config.settings import load
from g5.detection.corpus import detect_corpus, detector_of
from g5.detection.scoring.second_look import TRAITS, best_apart
from preprocessing.events import Corpus

PLACE = Path(__file__).resolve().parents[2] / "conf" / "detection" / "common" / "default.yaml"
# As the scorer matches.
OVERLAP = 0.3
# Inverse strength of the regression's penalty, on traits of deviation 1: strong, as the worlds that
# it is used in are others. Parts of the species.
PENALTY, FOLDS = 0.001, 5
BIASES = np.arange(-2.0, 2.05, 0.1)  # that are tried


@dataclass(frozen=True)
class Looked:
    """What was looked at of one task.

    Attributes:
        kind: of recordings.
        label: the species.
        bounds_E2: of events after the support.
        traits_EX: theirs.
        on_ET: whether they match calls after the support.
    """

    kind: str
    label: str
    bounds_E2: np.ndarray
    traits_EX: np.ndarray
    on_ET: np.ndarray


def main(arguments: Sequence[str]) -> None:
    """Make the recordings, look, fit, write."""
    settings = load(arguments)
    folder, store = settings.path.root / "outputs" / "second_look", settings.path.store
    detector, sounds = detector_of(
        shipped(), settings.detection, store, device=torch.device("cpu"), block_s=30.0
    )
    looked: list[Looked] = []
    for number, (kind, shots, made) in enumerate(corpora(folder, store)):
        looked += look_at(detector, sounds, made, kind, f"{number} ", shots)
    weights, f_of_kind = learnt(looked)
    total = sum(len(one.traits_EX) for one in looked)
    print(f"{len(looked)} tasks, {total} events looked at; F of species left out:")
    for kind, f in f_of_kind.items():
        print(f"  {kind}: {f:.3f}")
    write(weights, PLACE)
    print(f"written to {PLACE}:\n{weights}")


def look_at(detector, sounds, made: Corpus, kind: str, prefix: str, shots: int) -> Iterator[Looked]:
    """Every task's events after the support."""
    for task in detect_corpus(detector, sounds, made, "val", shots=shots):
        found = task.found
        sound = found.target.shots[0].sound
        parts = sound, found.target, found.curve, found.calibration
        look = detector.look(*parts)
        if look is None:
            continue
        _, bounds_E2, traits_EX = detector.looked(*parts, look)
        after_E = bounds_E2[:, 0] >= task.support_end_s
        true_T2 = task.truth[["start_s", "end_s"]].to_numpy(float)
        true_T2 = true_T2[true_T2[:, 0] >= task.support_end_s]
        yield Looked(
            kind, prefix + task.label, bounds_E2[after_E], traits_EX[after_E],
            shared(bounds_E2[after_E], true_T2) >= OVERLAP,
        )  # fmt: skip


def shared(a_E2: np.ndarray, b_T2: np.ndarray) -> np.ndarray:
    """Intersection over union, (E, T)."""
    (start_E, end_E), (start_T, end_T) = a_E2.T[..., None], b_T2.T
    both_ET = np.minimum(end_E, end_T) - np.maximum(start_E, start_T)
    return both_ET / (end_E - start_E + end_T - start_T - both_ET)


def learnt(looked: Sequence[Looked]) -> tuple[dict[str, float], dict[str, float]]:
    """The weights, and F of species that they have not seen, by kind.

    The bias is that with which this F is best, the mean over kinds.
    """
    labels = sorted({one.label for one in looked})
    fold = {label: number % FOLDS for number, label in enumerate(labels)}
    models = [fitted([one for one in looked if fold[one.label] != k]) for k in range(FOLDS)]
    rows = [(one, log_odds(one.traits_EX, models[fold[one.label]])) for one in looked]
    kinds = sorted({one.kind for one in looked})
    f_BC = np.array([
        [f_of([row for row in rows if row[0].kind == kind], least) for kind in kinds]
        for least in BIASES
    ])  # fmt: skip
    best = int(np.argmax(f_BC.mean(axis=1)))
    found = fitted(looked)
    found[0] -= BIASES[best]
    found *= steepness(rows)
    weights: dict[str, float] = dict(zip(("bias", *TRAITS), found.tolist(), strict=True))
    return weights, dict(zip(kinds, f_BC[best].tolist(), strict=True))


def steepness(rows: Sequence[tuple[Looked, np.ndarray]]) -> float:
    """What makes log-odds of those of a regression that its penalty has drawn together."""
    odds_E1 = np.concatenate([odds_E for _, odds_E in rows])[:, None]
    call_E = np.concatenate([one.on_ET.any(axis=1) for one, _ in rows])
    return float(LogisticRegression(C=np.inf).fit(odds_E1, call_E).coef_[0, 0])


def fitted(looked: Sequence[Looked]) -> np.ndarray:
    """Bias and weights of `TRAITS`, (1 + X,)."""
    traits_EX = np.concatenate([one.traits_EX for one in looked])
    call_E = np.concatenate([one.on_ET.any(axis=1) for one in looked])
    mean_X, deviation_X = traits_EX.mean(axis=0), traits_EX.std(axis=0)
    model = LogisticRegression(C=PENALTY, max_iter=2000)
    model.fit((traits_EX - mean_X) / deviation_X, call_E)
    weight_X = model.coef_[0] / deviation_X
    return np.array([np.ravel(model.intercept_)[0] - mean_X @ weight_X, *weight_X])


def log_odds(traits_EX: np.ndarray, model: np.ndarray) -> np.ndarray:
    """By bias and weights, (E,)."""
    return traits_EX @ model[1:] + model[0]


def f_of(rows: Sequence[tuple[Looked, np.ndarray]], least: float) -> float:
    """F of the events from a log-odds on, where those that overlap count once."""
    right, said, calls = 0, 0, 0
    for one, odds_E in rows:
        kept = np.flatnonzero(odds_E >= least)
        kept = kept[best_apart(one.bounds_E2[kept], odds_E[kept])]
        right += int(one.on_ET[kept].any(axis=0).sum())
        said += len(kept)
        calls += one.on_ET.shape[1]
    return 2 * right / max(said + calls, 1)


def write(weights: Mapping[str, float], path: Path) -> None:
    """Put them in the place of those of a YAML's `look`."""
    text = path.read_text("utf-8")
    for name, weight in weights.items():
        text, count = re.subn(rf"(?m)^(  {name}: +)\S+", rf"\g<1>{weight:.3f}", text)
        assert count == 1, name
    write_text(path, text)


if __name__ == "__main__":
    run_as_command(main)
