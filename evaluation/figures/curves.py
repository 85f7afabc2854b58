"""Curves: training over epochs, accuracy over shots, error over width."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluation.figures.style import BLUE, GREEN, GREY, ORANGE, RED, drawing, percent
from evaluation.history import best_epoch, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def training_curves(history: pd.DataFrame, path: Path, *, chance: float) -> Path:
    """Loss, accuracy and learning rate over epochs, the best epoch marked, and a verdict.

    Args:
        history: as from `evaluation.history.read_history`.
        chance: accuracy of guessing, 1 / n_way.
    """
    import textwrap

    with drawing(path, 12.5, 4.4) as figure:
        left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 0.55])
        _curves(left, history, "loss", "Loss")
        left.set_ylim(0, 1.1 * np.nanmax(history[["train/loss", "val/loss"]].to_numpy()))
        _curves(middle, history, "acc", "Accuracy")
        middle.set_ylim(0, 1.02)
        percent(middle.yaxis)
        middle.axhline(chance, color=GREY, linestyle=":", linewidth=1.5, label="chance")
        _learning_rate(right, history)
        if (best := best_epoch(history)) is not None:
            row = history[history["epoch"] == best].iloc[0]
            for axes in (left, middle, right):
                axes.axvline(best, color=RED, linewidth=1, linestyle="--", zorder=1)
            text = f"best: epoch {best}, {row['val/acc']:.1%}"
            middle.plot(best, row["val/acc"], "*", color=RED, markersize=14, zorder=5, label=text)
        for axes in (left, middle):
            axes.legend(loc="best")
        judged = verdict(history, chance=chance)
        text = textwrap.fill(f"{judged.kind.capitalize()}: {judged.reason}.", 155)
        figure.suptitle(text, x=0.01, ha="left", fontsize=11)
    return path


def _curves(axes: "Axes", history: pd.DataFrame, column: str, title: str) -> None:
    many = len(history) > 30
    for split, color, marker in (("train", BLUE, "o"), ("val", ORANGE, "s")):
        measured = history.dropna(subset=[f"{split}/{column}"])
        name = {"train": "training", "val": "validation"}[split]
        axes.plot(measured["epoch"], measured[f"{split}/{column}"], color=color, label=name,
                  marker=None if many else marker, markersize=5)  # fmt: skip
    _epochs_axis(axes, history)
    axes.set_title(title)


def _learning_rate(axes: "Axes", history: pd.DataFrame) -> None:
    axes.plot(history["epoch"], history["lr"], color=GREEN,
              marker=None if len(history) > 30 else ".")  # fmt: skip
    axes.set_ylim(0, 1.1 * float(history["lr"].to_numpy().max()) or None)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    _epochs_axis(axes, history)
    # To the right, for the exponent of the numbers stands at the left.
    axes.set_title("Learning rate", loc="right")


def _epochs_axis(axes: "Axes", history: pd.DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    first, last = history["epoch"].to_numpy()[[0, -1]].tolist()
    margin = max(0.5, (last - first) * 0.02)
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.set_xlabel("epoch")
