"""From answers to Markdown: means over seeds, paired differences, and two kinds of intervals.

Shape suffixes: E episodes, A answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.v2_vs_v1.sets import TEST_SEED, Answers, TestSet, per_episode
from g5.evaluation.intervals import Interval, mean_interval, resampled_interval

RESAMPLES = 2000  # of the bootstrap over classes and sources


@dataclass(frozen=True)
class Row:
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


@dataclass(frozen=True)
class Difference:
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


def difference(a: Row, b: Row | np.ndarray) -> Difference:
    """``a - b`` on the same episodes; ``b`` may be the hits of raw features."""
    other_A = b.hit_A if isinstance(b, Row) else b
    others = b.seeds if isinstance(b, Row) else [float(other_A.mean())] * len(a.seeds)
    if isinstance(b, Row):
        hashes = {answers.episodes_hash for answers in (*a.answers, *b.answers)}
        assert len(hashes) == 1, "only equal episodes can be paired"
    gap_A = a.hit_A - other_A
    if not gap_A.any():
        return Difference(0.0, (0.0, 0.0), (0.0, 0.0), [0.0] * len(a.seeds))
    over = mean_interval(per_episode(gap_A), bounds=(-1.0, 1.0))
    first = a.answers[0]
    # The bootstrap is made for shares: -1 .. 1 becomes 0 .. 1 and back.
    wide = resampled_interval(
        (gap_A + 1) / 2, first.class_A, first.source_A, seed=TEST_SEED, resamples=RESAMPLES
    )
    return Difference(
        mean=100 * over.mean,
        episodes=(100 * over.low, 100 * over.high),
        resampled=(200 * wide.low - 100, 200 * wide.high - 100),
        seeds=[100 * (x - y) for x, y in zip(a.seeds, others, strict=False)],
    )


def accuracy_table(rows: Mapping[str, Mapping[str, Row]], sets: Sequence[TestSet]) -> str:
    """One line per model, one column per set; ``rows[name][set.key]``."""
    lines = [
        f"| | {' | '.join(s.name for s in sets)} |",
        f"| --- | {' | '.join('---:' for _ in sets)} |",
        f"| chance | {' | '.join(f'{1 / s.n_way:.1%}' for s in sets)} |",
    ]
    first = next(iter(rows.values()))
    raw = [first[s.key].raw() for s in sets]
    cells = [f"{percent(mean_interval(per_episode(hits)))} ({name})" for name, hits in raw]
    lines.append(f"| raw features, the best of three | {' | '.join(cells)} |")
    for name, of_sets in rows.items():
        lines.append(f"| {name} | {' | '.join(_cell(of_sets[s.key]) for s in sets)} |")
    return "\n".join(lines)


def _cell(row: Row) -> str:
    text = percent(row.interval)
    if len(row.seeds) > 1:
        text += f" ({', '.join(f'{100 * seed:.1f}' for seed in row.seeds)})"
    return text


def difference_table(pairs: Mapping[str, Mapping[str, Difference]], sets: Sequence[TestSet]) -> str:
    """One line per pair and set."""
    lines = [
        "| difference, points | set | mean | 95 % over episodes | 95 % over classes and sources "
        "| each seed |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, of_sets in pairs.items():
        for test_set in sets:
            found = of_sets[test_set.key]
            lines.append(
                f"| {name} | {test_set.name} | {found.mean:+.1f} | {_range(found.episodes)} "
                f"| {_range(found.resampled)} | {', '.join(f'{x:+.1f}' for x in found.seeds)} |"
            )
    return "\n".join(lines)


def gap_table(rows: Mapping[str, Mapping[str, Row]], first: str, sets: Sequence[TestSet]) -> str:
    """One line per model: its accuracy, and in points how far it is from the row ``first``.

    Gaps are paired, with 95 % intervals over episodes. ``first`` is the mean of its seeds, and
    has a line for each of them.
    """
    full = rows[first]
    lines = [
        f"| | {' | '.join(f'{s.name} | gap' for s in sets)} |",
        f"| --- | {' | '.join('---: | ---:' for _ in sets)} |",
        f"| {first}, mean of {len(full[sets[0].key].answers)} seeds "
        f"| {' | '.join(f'{percent(full[s.key].interval)} |' for s in sets)} |",
    ]
    raw = [mean_interval(per_episode(full[s.key].raw()[1])) for s in sets]
    lines.append(
        f"| raw features, the best of three | {' | '.join(f'{percent(x)} |' for x in raw)} |"
    )
    singles = {
        f"{first}, seed {i + 1}": {s.key: Row([full[s.key].answers[i]]) for s in sets}
        for i in range(len(full[sets[0].key].answers))
    }
    for name, row in {**singles, **{k: v for k, v in rows.items() if k != first}}.items():
        cells = [
            f"{100 * row[s.key].interval.mean:.1f} | {_gap(row[s.key], full[s.key])}" for s in sets
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gap(row: Row, full: Row) -> str:
    gap = mean_interval(per_episode(row.hit_A - full.hit_A), bounds=(-1.0, 1.0))
    return f"{100 * gap.mean:+.1f} ± {100 * gap.half_width:.1f}"


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.1f} to {ends[1]:+.1f}"


def percent(interval: Interval) -> str:
    """``71.3 ± 0.5 %``."""
    return f"{100 * interval.mean:.1f} ± {100 * interval.half_width:.1f} %"
