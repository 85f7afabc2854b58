"""From answers to Markdown: means over seeds, paired differences, and two kinds of intervals.

Shape suffixes: E episodes, A answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.common import markdown, percent_cell
from experiments.v2_vs_v1.sets import TEST_SEED, Answers, TestSet, per_episode
from g5.evaluation.intervals import Interval, mean_interval, resampled_interval

RESAMPLES = 2000  # of the bootstrap over classes and sources
BEST_RAW = "raw features, the best of three"


@dataclass(frozen=True)
class SeedAnswers:
    """A model's answers on one set, one `Answers` per training seed, which are averaged."""

    answers: Sequence[Answers]

    @property
    def hit_A(self) -> np.ndarray:
        return np.mean([a.hit_A for a in self.answers], axis=0)

    @property
    def interval(self) -> Interval:
        """Over episodes."""
        return mean_interval(per_episode(self.hit_A))

    @property
    def seeds(self) -> list[float]:
        """Each seed's accuracy."""
        return [float(a.hit_A.mean()) for a in self.answers]

    def raw(self) -> tuple[str, np.ndarray]:
        """The best raw-feature row and its hits; the same for every seed, as the data are."""
        first = self.answers[0]
        return first.raw_best, first.raw[first.raw_best].astype(float)

    def raw_interval(self) -> Interval:
        """Over episodes, of the best raw-feature row."""
        return mean_interval(per_episode(self.raw()[1]))


Rows = Mapping[str, Mapping[str, SeedAnswers]]  # by model, by the key of a set


@dataclass(frozen=True)
class PairedGap:
    """A paired difference of accuracies, in points.

    Attributes:
        mean: over seeds and episodes.
        episodes: 95 % interval over episodes.
        resampled: 95 % interval over resampled classes and sources.
        seeds: the difference in each training seed.
    """

    mean: float
    episodes: tuple[float, float]
    resampled: tuple[float, float]
    seeds: list[float]


def paired_gap(a: SeedAnswers, b: SeedAnswers | np.ndarray) -> PairedGap:
    """``a - b`` on the same episodes; ``b`` may be the hits of raw features."""
    other_A = b.hit_A if isinstance(b, SeedAnswers) else b
    others = b.seeds if isinstance(b, SeedAnswers) else [float(other_A.mean())] * len(a.seeds)
    if isinstance(b, SeedAnswers):
        hashes = {answers.episodes_hash for answers in (*a.answers, *b.answers)}
        assert len(hashes) == 1, "only equal episodes can be paired"
    gap_A = a.hit_A - other_A
    if not gap_A.any():
        return PairedGap(0.0, (0.0, 0.0), (0.0, 0.0), [0.0] * len(a.seeds))
    over = mean_interval(per_episode(gap_A), bounds=(-1.0, 1.0))
    first = a.answers[0]
    # The bootstrap is made for shares: -1 .. 1 becomes 0 .. 1 and back.
    wide = resampled_interval(
        (gap_A + 1) / 2, first.class_A, first.source_A, seed=TEST_SEED, resamples=RESAMPLES
    )
    return PairedGap(
        mean=100 * over.mean,
        episodes=(100 * over.low, 100 * over.high),
        resampled=(200 * wide.low - 100, 200 * wide.high - 100),
        seeds=[100 * (x - y) for x, y in zip(a.seeds, others, strict=False)],
    )


def accuracy_table(rows: Rows, sets: Sequence[TestSet]) -> str:
    """One line per model, one column per set; ``rows[name][set.key]``."""
    first = next(iter(rows.values()))
    raw = [f"{percent_cell(first[s.key].raw_interval())} ({first[s.key].raw()[0]})" for s in sets]
    lines = [["chance", *(f"{1 / s.n_way:.1%}" for s in sets)], [BEST_RAW, *raw]]
    lines += [[name, *(_with_seeds(row[s.key]) for s in sets)] for name, row in rows.items()]
    return markdown(["", *(s.name for s in sets)], lines)


def _with_seeds(row: SeedAnswers) -> str:
    text = percent_cell(row.interval)
    if len(row.seeds) > 1:
        text += f" ({', '.join(f'{100 * seed:.1f}' for seed in row.seeds)})"
    return text


def paired_gap_table(pairs: Mapping[str, Mapping[str, PairedGap]], sets: Sequence[TestSet]) -> str:
    """One line per pair and set."""
    head = ["difference, points", "set", "mean", "95 % over episodes",
            "95 % over classes and sources", "each seed"]  # fmt: skip
    lines = []
    for name, of_sets in pairs.items():
        for test_set in sets:
            found = of_sets[test_set.key]
            ends = (f"{low:+.1f} to {high:+.1f}" for low, high in (found.episodes, found.resampled))
            seeds = ", ".join(f"{x:+.1f}" for x in found.seeds)
            lines.append([name, test_set.name, f"{found.mean:+.1f}", *ends, seeds])
    return markdown(head, lines, text_columns=2)
