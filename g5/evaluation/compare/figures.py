"""Figures of a comparison: the runs' curves overlaid, and which runs cannot be told apart.

Shapes: G groups of runs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from g5.evaluation.compare.differences import ALPHA, Difference
from g5.evaluation.compare.groups import Group
from g5.evaluation.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    drawing,
    percent_axis,
    short_names,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", RED, GREY, "#F0E442")
DASHES = ("-", "--", ":", "-.")  # told apart beyond the colours, and by the colour-blind


def overlaid_curves(groups: Sequence[Group], path: Path) -> Path | None:
    """Validation loss and accuracy of every run; None where none has a history.

    Losses of training are no figure: pretraining, smoothing of labels and augmentation change what
    they mean. That of validation is the same in every run of one `validated`.
    """
    if not any(run.history is not None for group in groups for run in group.runs.values()):
        return None
    names = short_names([group.name for group in groups], 40)
    with drawing(path, 11, 4.6) as figure:
        left, right = figure.subplots(1, 2)
        for number, (group, name) in enumerate(zip(groups, names, strict=True)):
            for axes, column in ((left, "val/loss"), (right, "val/acc")):
                _seed_curves(axes, group, column, name, number)
        left.set_title("Validation loss")
        right.set_title("Validation accuracy")
        # An axis that follows its data leaves curves that are all alike no room above them.
        drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in left.get_lines()])
        left.set_ylim(0, 1.1 * float(np.nanmax(drawn, initial=0.0)) or None)
        percent_axis(right.yaxis)
        for axes in (left, right):
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower center",
                      ncols=min(len(groups), 3))  # fmt: skip
    return path


def validated(groups: Sequence[Group]) -> list[str]:
    """How the runs were validated, each way once: curves of one way alone can be compared."""
    asked = [run.config["arch"].get("episodes", {}) for g in groups for run in g.runs.values()]
    ways = [f"{e.get('n_way')}-way {e.get('k_shot')}-shot" for e in asked]
    return list(dict.fromkeys(ways))


def _seed_curves(axes: "Axes", group: Group, column: str, name: str, number: int) -> None:
    """A thin line each seed, labelled once."""
    label: str | None = name
    several = len(group.runs) > 1
    for run in group.runs.values():
        if run.history is None:
            continue
        rows = run.history.dropna(subset=[column])
        axes.plot(
            rows["epoch"], rows[column], color=PALETTE[number % len(PALETTE)], label=label,
            linestyle=DASHES[number // len(PALETTE) % len(DASHES)] if several else
            DASHES[number % len(DASHES)],
            linewidth=1.2 if several else 2, marker="." if len(rows) <= 30 else None,
        )  # fmt: skip
        label = None


def critical_difference(
    groups: Sequence[Group], ranks_G: np.ndarray, differences: Sequence[Difference], path: Path
) -> Path:
    """Mean ranks on a line, with a bar over runs that the tests cannot tell apart (Demšar 2006).

    Bars join runs by the paired permutation test after Holm's correction, not by mean ranks.
    """
    order = np.argsort(ranks_G)
    names = short_names([groups[i].name for i in order], 40)
    ranks = ranks_G[order]
    alike = {frozenset((item.first, item.second)) for item in differences if item.p_holm >= ALPHA}
    bars = _cliques([groups[i].name for i in order], alike)
    half = -(-len(order) // 2)
    with drawing(path, 10, 1.6 + 0.3 * half + 0.16 * len(bars)) as figure:
        axes = figure.subplots()
        axes.axis("off")
        low, high = 1, len(order)
        axes.set_xlim(low - 0.45 * (high - low), high + 0.45 * (high - low))
        depth = -0.35 * len(bars)
        axes.set_ylim(depth - 0.75 * half - 0.4, 1.2)
        axes.plot([low, high], [0, 0], color="#333333", linewidth=1.5)
        for tick in range(low, high + 1):
            axes.plot([tick, tick], [0, 0.15], color="#333333", linewidth=1.5)
            axes.text(tick, 0.3, str(tick), ha="center")
        for number, (name, rank) in enumerate(zip(names, ranks, strict=True)):
            _leader(axes, name, rank, number, half, len(order), depth, (low, high))
        for number, (first, last) in enumerate(bars):
            y = -0.3 - 0.35 * number
            axes.plot([ranks[first] - 0.02, ranks[last] + 0.02], [y, y], color=RED, linewidth=5,
                      solid_capstyle="round")  # fmt: skip
        title = "Mean rank over episodes (1 is best); a bar joins runs that cannot be told apart"
        figure.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=11)
    return path


def _leader(
    axes: "Axes", name: str, rank: float, number: int, half: int, n: int, depth: float,
    ends: tuple[int, int],
) -> None:  # fmt: skip
    """A leader from the line to the run's name, the better half on the left."""
    left = number < half
    level = number if left else n - 1 - number
    y = depth - 0.6 - 0.75 * level
    span = ends[1] - ends[0]
    x = ends[0] - 0.06 * span if left else ends[1] + 0.06 * span
    axes.plot([rank, rank, x], [0, y, y], color=GREY, linewidth=1)
    axes.text(x, y, f"{name}  {rank:.2f} " if left else f" {rank:.2f}  {name}", va="center",
              ha="right" if left else "left")  # fmt: skip


def _cliques(names: Sequence[str], alike: set[frozenset[str]]) -> list[tuple[int, int]]:
    """Longest stretches of neighbours of which no two differ: first and last place."""
    found: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = first
        while last + 1 < len(names) and all(
            frozenset((names[i], names[last + 1])) in alike for i in range(first, last + 1)
        ):
            last += 1
        if last > first and not any(a <= first and last <= b for a, b in found):
            found.append((first, last))
    return found
