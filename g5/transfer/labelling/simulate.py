"""Which strategy needs the fewest labels: active learning played through with known labels.

Shapes: N clips, D embedding width, S seeds, T rounds.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.progress import track
from g5.config.schema import SimulateSettings
from g5.evaluation.intervals import Interval
from g5.transfer.labelling.strategies import STRATEGIES, ClipPool, choose

COLUMNS = ["strategy", "seed", "labels", "accuracy", "minutes"]
# Student's t, two-sided 95 %, by degrees of freedom; few seeds need it.
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True)
class LabelledVectors:
    """Clips with known labels, parted into what may be labelled and what is tested on.

    Attributes:
        z_ND: vectors of unit length.
        labels: (N,).
        sources: (N,) recording of each clip; no source is in both parts.
        dates: (N,) or None.
    """

    z_ND: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    dates: np.ndarray | None = None


def simulate(
    clips: LabelledVectors, settings: SimulateSettings, *, rounds: Sequence[int]
) -> pd.DataFrame:
    """Play every strategy through with every seed: `COLUMNS`, one row per round.

    A seed fixes the test part (by source, the same for all strategies), which is never chosen
    from; accuracy is on it. The first round is what the strategy chooses with nothing labelled.

    Args:
        clips: vectors, labels and sources.
        settings: strategies, seeds, and how accuracy is measured.
        rounds: numbers of labels at which the head is trained and tested, rising.

    Raises:
        UserError: fewer than two labels, an unknown strategy, or rounds that do not rise.
    """
    for name in settings.strategies:
        if name not in STRATEGIES:
            raise UserError(f"strategies: {name} is none of {', '.join(STRATEGIES)}")
    if len(set(clips.labels)) < 2:
        raise UserError("a simulation needs clips of at least two labels")
    if not rounds or sorted(set(rounds)) != list(rounds) or rounds[0] < 1:
        raise UserError(f"rounds={list(rounds)}: must be rising numbers of labels")
    rows: list[tuple[str, int, int, float, float]] = []
    jobs = [(seed, name) for seed in range(settings.seeds) for name in settings.strategies]
    for seed, name in track(jobs, total=len(jobs), label="simulating", unit="runs"):
        test_N = test_part(clips.sources, settings.test_share, seed)
        for n, accuracy in _play(clips, test_N, name, rounds, seed, settings.regularisation):
            rows.append((name, seed, n, accuracy, n * settings.seconds_per_label / 60))
    return pd.DataFrame(rows, columns=COLUMNS)


def test_part(sources: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which clips are tested on, (N,) bool: whole sources, about ``share`` of the clips.

    Raises:
        UserError: one source alone cannot be parted.
    """
    names, source_N, counts = np.unique(
        np.asarray(sources, dtype=str), return_inverse=True, return_counts=True
    )
    if len(names) < 2:
        raise UserError("all clips are of one source: nothing can be held back to test on")
    order = np.random.default_rng(seed).permutation(len(names))
    n_test = int(np.searchsorted(np.cumsum(counts[order]), share * len(sources), side="left")) + 1
    return np.isin(source_N, order[: min(n_test, len(names) - 1)])


def _play(
    clips: LabelledVectors,
    test_N: np.ndarray,
    strategy: str,
    rounds: Sequence[int],
    seed: int,
    regularisation: float,
) -> list[tuple[int, float]]:
    """Numbers of labels and accuracies of one strategy and seed."""
    pool_U, test = np.flatnonzero(~test_N), np.flatnonzero(test_N)
    rng = np.random.default_rng((seed, 1))
    labelled = pool_U[_next(clips, pool_U[:0], pool_U, strategy, rounds[0], rng, None)]
    curve: list[tuple[int, float]] = []
    for wanted in (*rounds[1:], 0):
        model = Classifier(clips.z_ND[labelled], clips.labels[labelled], regularisation)
        hits = model(clips.z_ND[test]) == clips.labels[test]
        curve.append((len(labelled), float(hits.mean())))
        left = np.setdiff1d(pool_U, labelled)
        if wanted and len(left):
            picks = _next(clips, labelled, left, strategy, wanted, rng, model)
            labelled = np.concatenate([labelled, left[picks]])
        else:
            break
    return curve


def _next(
    clips: LabelledVectors,
    labelled: np.ndarray,
    left: np.ndarray,
    strategy: str,
    wanted: int,
    rng: np.random.Generator,
    model: "Classifier | None",
) -> np.ndarray:
    z_UD = clips.z_ND[left]
    dates = None if clips.dates is None else clips.dates[left]
    pool = ClipPool(
        z_UD=z_UD,
        z_LD=clips.z_ND[labelled],
        p_UC=None if model is None else model.probabilities(z_UD),
        recordings=list(clips.sources[left]),
        dates=None if dates is None else list(dates),
    )
    return choose(strategy, pool, size=wanted - len(labelled), rng=rng)


class Classifier:
    """Logistic regression on unit vectors, or the one class there is."""

    def __init__(self, z_LD: np.ndarray, labels: np.ndarray, regularisation: float) -> None:
        from sklearn.linear_model import LogisticRegression

        self.classes = np.unique(labels)
        self._mean_D = z_LD.mean(axis=0)
        self._scale = max(float(z_LD.std()), 1e-6)
        self._model = None
        if len(self.classes) > 1:
            self._model = LogisticRegression(C=regularisation, max_iter=200, tol=1e-3)
            with warnings.catch_warnings():
                # Few labels of many classes are what active learning begins with.
                warnings.filterwarnings("ignore", message="The number of unique classes")
                self._model.fit(self._scaled(z_LD), labels)

    def _scaled(self, z_UD: np.ndarray) -> np.ndarray:
        return (z_UD - self._mean_D) / self._scale

    def probabilities(self, z_UD: np.ndarray) -> np.ndarray | None:
        """(U, C) in the order of ``classes``; None while there is one class."""
        if self._model is None:
            return None
        return self._model.predict_proba(self._scaled(z_UD))

    def __call__(self, z_UD: np.ndarray) -> np.ndarray:
        """The most probable class of each."""
        p_UC = self.probabilities(z_UD)
        if p_UC is None:
            return np.repeat(self.classes, len(z_UD))
        return self.classes[p_UC.argmax(axis=1)]


def seed_interval(values_S: np.ndarray) -> Interval:
    """Mean over seeds with its 95 % interval by Student's t, which few seeds need."""
    values_S = np.asarray(values_S, np.float64)
    n, mean = len(values_S), float(values_S.mean())
    if n < 2:
        return Interval(mean, 0.0, 1.0, n)
    factor = T95[n - 2] if n - 2 < len(T95) else 1.96
    half = factor * float(values_S.std(ddof=1)) / n**0.5
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half), n)


def curve_table(results: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy with its interval over seeds, by strategy and number of labels."""
    rows = []
    for key, part in results.groupby(["strategy", "labels"], sort=False):
        strategy, labels = key if isinstance(key, tuple) else (key, 0)
        interval = seed_interval(np.asarray(part["accuracy"]))
        rows.append(
            {
                "strategy": strategy, "labels": labels, "minutes": part["minutes"].iloc[0],
                "accuracy": interval.mean, "low": interval.low, "high": interval.high,
                "seeds": interval.n,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def labels_needed(
    results: pd.DataFrame, strategy: str, target: Callable[[int], float]
) -> dict[int, float]:
    """Labels at which ``strategy`` first reaches each seed's target, interpolated; seed -> labels.

    Args:
        target: seed -> accuracy.
    Returns:
        infinity where it never does.
    """
    needed: dict[int, float] = {}
    of_strategy = results.loc[results["strategy"] == strategy]
    for name, part in of_strategy.groupby("seed"):
        seed = int(str(name))
        aim = target(seed)
        labels = np.asarray(part["labels"], np.float64)
        accuracy = np.asarray(part["accuracy"], np.float64)
        reached = np.flatnonzero(accuracy >= aim)
        if not len(reached):
            needed[seed] = float("inf")
            continue
        at = reached[0]
        if at == 0:
            needed[seed] = float(labels[0])
        else:
            rise = (aim - accuracy[at - 1]) / (accuracy[at] - accuracy[at - 1])
            needed[seed] = float(labels[at - 1] + rise * (labels[at] - labels[at - 1]))
    return needed
