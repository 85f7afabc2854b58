"""Several ways to answer the same questions, class by class: recalls as a table and a figure.

Shapes: A answers, C classes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.evaluation.figures.style import COLORS, GREY, MARKERS, drawing, percent_axis, short_names
from g5.evaluation.intervals import Interval

LABEL, TRAINED_ON, QUERIES = "label", "trained_on", "queries"
FACTS = (LABEL, TRAINED_ON, QUERIES)
SHAPES = (*MARKERS, "v", "X")
MOST = 40  # classes that a figure shows: those that differ most
MEAN = "mean"


def recall_table(
    answers: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    trained_on: Mapping[Any, int] | None = None,
) -> pd.DataFrame:
    """The recall of every class under each of several ways to answer.

    Args:
        answers: by name, the true and the predicted labels (A,).
        trained_on: training examples of each class.
    Returns:
        ``label, trained_on, queries`` and a column for each way, NaN where a class was not asked;
        the rarest class in training first, or without ``trained_on`` in the order of names.
        ``queries`` are those of the first way.
    """
    columns: dict[str, Any] = {}
    for name, (true_A, predicted_A) in answers.items():
        hits = pd.Series(np.asarray(true_A) == np.asarray(predicted_A)).groupby(np.asarray(true_A))
        if not columns:
            columns[QUERIES] = hits.size()
        columns[name] = hits.mean()
    table = pd.DataFrame(columns).rename_axis(LABEL).reset_index()
    table[QUERIES] = table[QUERIES].fillna(0).astype(int)
    if trained_on is None:
        return table
    table.insert(1, TRAINED_ON, [trained_on.get(label, 0) for label in table[LABEL]])
    return table.sort_values(TRAINED_ON, kind="stable", ignore_index=True)


def ways_of(table: pd.DataFrame) -> list[str]:
    """The columns that hold recalls."""
    return [name for name in table if name not in FACTS]


def spread(table: pd.DataFrame) -> np.ndarray:
    """(C,) how much the ways differ on each class."""
    recalls = table[ways_of(table)]
    return (recalls.max(axis=1) - recalls.min(axis=1)).to_numpy()


def most_different(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many classes, those on which the ways differ most, in the table's order."""
    kept = np.argsort(-np.nan_to_num(spread(table)), kind="stable")[:most]
    return table.iloc[np.sort(kept)]


def told(table: pd.DataFrame, most: int = MOST) -> str:
    """The table as text, with the mean over all classes (balanced accuracy) below."""
    shown = most_different(table, most)
    mean = {LABEL: MEAN, **table[ways_of(table)].mean().to_dict()}
    rows = pd.concat([shown, pd.DataFrame([mean])], ignore_index=True)
    text = pd.DataFrame({LABEL: rows[LABEL].astype(str)})
    for name in (TRAINED_ON, QUERIES):
        if name in rows:
            text[name.replace("_", " ")] = [
                "" if pd.isna(value) else f"{value:.0f}" for value in rows[name]
            ]
    for name in ways_of(table):
        text[name] = ["-" if pd.isna(value) else f"{value:.1%}" for value in rows[name]]
    rest = len(table) - len(shown)
    more = f"\n({rest} more classes, which differ less, are in the CSV)" if rest else ""
    return text.to_string(index=False) + more


def recall_figure(
    table: pd.DataFrame,
    path: Path,
    *,
    title: str,
    intervals: Mapping[str, Mapping[str, Interval]] | None = None,
) -> Path:
    """A row a class, a mark a way; the grey line spans them. The last row is the mean.

    Args:
        table: `recall_table`.
        title: of the figure.
        intervals: of each way, by class: whiskers.
    """
    shown = most_different(table, MOST)
    ways: Sequence[str] = ways_of(table)
    value_CW = np.vstack([shown[ways].to_numpy(float), table[ways].mean().to_numpy()[None]])
    counts = [f" ({n:,})" for n in shown[TRAINED_ON]] if TRAINED_ON in shown else [""] * len(shown)
    names = short_names([str(label) for label in shown[LABEL]])
    ticks = [f"{name}{count}" for name, count in zip(names, counts, strict=True)]
    with drawing(path, 8.5, max(3.0, 0.27 * len(ticks) + 2.0)) as figure:
        axes = figure.subplots()
        place = np.arange(len(ticks) + 1.0)
        place[-1] += 0.4
        if not intervals:
            low_C, high_C = np.nanmin(value_CW, 1), np.nanmax(value_CW, 1)
            axes.hlines(place, low_C, high_C, color="#C8C8C8", lw=2)
        for number, name in enumerate(ways):
            # A little apart, so that equal ones do not cover each other.
            aside = (0.2 if intervals else 0.09) * (number - (len(ways) - 1) / 2)
            if intervals:
                found = [intervals[name].get(str(label)) for label in shown[LABEL]]
                ends = [(at, i.low, i.high) for at, i in zip(place, found, strict=False) if i]
                at, low, high = np.array(ends).T
                axes.hlines(at + aside, low, high, color=COLORS[number % len(COLORS)], lw=1.4)
            axes.plot(
                value_CW[:, number], place + aside, SHAPES[number % len(SHAPES)], label=name,
                color=COLORS[number % len(COLORS)], markersize=7, alpha=0.85,
            )  # fmt: skip
        axes.axhline(place[-1] - 0.7, color=GREY, lw=0.8)
        axes.set_yticks(place, [*ticks, f"mean of {len(table)} classes"], fontsize=9)
        axes.set_ylim(place[-1] + 0.6, -0.6)
        axes.set_xlim(-0.02, 1.02)
        percent_axis(axes.xaxis)
        rest = len(table) - len(shown)
        of = f", the {len(shown)} that differ most of {len(table)}" if rest else ""
        axes.set_xlabel(f"recall of each class{of}")
        figure.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=12)
        figure.legend(loc="outside lower center", ncols=min(len(ways), 3))
    return path
