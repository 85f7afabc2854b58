"""The figure of a split: how many clips of each class are in each part.

Shapes: C classes, S parts (splits or folds).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from g5.evaluation.figures.style import BLUE, GREEN, GREY, ORANGE, RED, drawing, short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"train": BLUE, "val": ORANGE, "test": GREEN}
HATCH = ("", "//")  # neighbours of a colour are told apart


def split_figure(
    counts: Sequence[tuple[str, pd.DataFrame]], path: Path, *, mark_missing: bool
) -> Path:
    """Stacked bars, one row a class, the largest class first; a panel for each of ``counts``.

    Args:
        counts: a panel's title, and clips of each class (row) in each part (column), as from
            `preprocessing.datasets.splits.distribution`.
        mark_missing: say in red from how many parts a class is missing; where the parts are made
            by class that is as it should be.
    """
    order = counts[0][1].sum(axis=1).sort_values(ascending=False, kind="stable").index
    names = short_names([str(name) for name in order])
    size = 9 if len(order) <= 60 else 6
    height = max(2.6, 0.26 * len(order) * size / 9 + 1.6)
    with drawing(path, 4.6 * len(counts) + 2.2, height) as figure:
        panels = figure.subplots(1, len(counts), squeeze=False, sharey=True)[0]
        for axes, (title, table) in zip(panels, counts, strict=True):
            _stacked_bars(axes, table.loc[order], title, size, mark_missing)
        panels[0].set_yticks(np.arange(len(order)), names, fontsize=size)
        panels[0].set_ylim(len(order) - 0.4, -0.6)
        figure.suptitle(f"Clips of {len(order)} classes in each part", x=0.01, ha="left",
                        weight="bold", fontsize=12)  # fmt: skip
    return path


def _stacked_bars(
    axes: "Axes", table: pd.DataFrame, title: str, size: float, mark_missing: bool
) -> None:
    """One panel."""
    place, left = np.arange(len(table)), np.zeros(len(table))
    palette = (BLUE, ORANGE, GREEN, "#56B4E9", "#CC79A7", GREY)
    for number, part in enumerate(table):
        width = table[part].to_numpy()
        colour = COLOURS.get(str(part), palette[number % len(palette)])
        hatch = HATCH[number // len(palette) % 2]
        name = part if part in COLOURS else f"fold {part}"
        axes.barh(place, width, left=left, color=colour, hatch=hatch, edgecolor="white",
                  height=0.75, label=f"{name}: {width.sum():,}")  # fmt: skip
        left = left + width
    axes.set_xlim(0, 1.32 * left.max())
    empty = (table.to_numpy() == 0).sum(1) * mark_missing
    for y, (total, missing) in enumerate(zip(left, empty, strict=True)):
        text = f"{total:.0f}" + (f"  (missing from {missing})" if missing else "")
        axes.text(total + 0.01 * left.max(), y, text, va="center", fontsize=size,
                  color=RED if missing else "#333333")  # fmt: skip
    axes.set_title(title)
    axes.set_xlabel("clips")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16 * 3 / max(3, 0.26 * len(table))),
                ncols=min(len(table.columns), 3), fontsize=8)  # fmt: skip
