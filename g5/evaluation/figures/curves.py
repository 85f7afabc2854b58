"""Curves: training over epochs, accuracy over shots, error over width."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from g5.evaluation.figures.style import (
    BLUE,
    COLORS,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    RED,
    drawing,
    percent_axis,
)
from g5.evaluation.verdict import verdict
from g5.tracking.history import best_epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def training_curves(history: pd.DataFrame, path: Path, *, chance: float) -> Path:
    """Loss, accuracy and learning rate over epochs, the best epoch marked, and a verdict.

    Args:
        history: as from `g5.tracking.history.read_history`.
        chance: accuracy of guessing, 1 / n_way.
    """
    import textwrap

    with drawing(path, 12.5, 4.4) as figure:
        left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 0.55])
        _curves(left, history, "loss", "Loss")
        left.set_ylim(0, 1.1 * np.nanmax(history[["train/loss", "val/loss"]].to_numpy()))
        _curves(middle, history, "acc", "Accuracy")
        middle.set_ylim(0, 1.02)
        percent_axis(middle.yaxis)
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
    axes.yaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
    _epochs_axis(axes, history)
    axes.set_title("Learning rate")


def _epochs_axis(axes: "Axes", history: pd.DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    first, last = history["epoch"].to_numpy()[[0, -1]].tolist()
    margin = max(0.5, (last - first) * 0.02)
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.set_xlabel("epoch")


# --- accuracy over shots ----------------------------------------------------------------------


def shot_curve(table: pd.DataFrame, path: Path, *, chance: float, title: str = "") -> Path:
    """Accuracy over the number of support calls, with 95 % intervals.

    Args:
        table: ``k_shot, accuracy, low, high``, and ``name`` where there are several curves.
        chance: accuracy of guessing, 1 / n_way.
        title: what was tested; a sentence about the gain is put below it.
    """
    if "name" not in table:
        table = table.assign(name="accuracy, 95 % interval")
    columns = ["k_shot", "accuracy", "low", "high"]
    curves = {
        str(name): rows.sort_values("k_shot")[columns].to_numpy(float)
        for name, rows in table.groupby("name", sort=False)
    }
    with drawing(path, 7.5, 4.6) as figure:
        axes = figure.subplots()
        for i, (name, rows) in enumerate(curves.items()):
            _with_band(axes, rows, COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)], name)
        axes.axhline(chance, color=GREY, linestyle=":", linewidth=1.5, label="chance")
        shots = sorted(set(table["k_shot"].tolist()))
        _log_axis(axes, shots, [str(k) for k in shots])
        axes.set_xlabel("support calls of each class (shots)")
        axes.set_ylabel("accuracy")
        axes.set_ylim(0, 1.02)
        percent_axis(axes.yaxis)
        axes.legend(loc="lower right")
        figure.suptitle(
            title or "Accuracy over shots", x=0.01, ha="left", weight="bold", fontsize=12
        )
        axes.set_title(_gain(next(iter(curves.values()))), fontsize=9, weight="normal", color=GREY)
    return path


def _gain(rows: np.ndarray) -> str:
    """What the first and the last step of shots bring."""
    if len(rows) < 2:
        return ""
    k, accuracy = rows[:, 0].astype(int), rows[:, 1]
    first, last = 100 * (accuracy[1] - accuracy[0]), 100 * (accuracy[-1] - accuracy[-2])
    return (
        f"from {k[0]} to {k[1]} shots {first:+.1f} points, "
        f"from {k[-2]} to {k[-1]} shots {last:+.1f} points"
    )


# --- error over width -------------------------------------------------------------------------


def capacity_curve(table: pd.DataFrame, path: Path, *, title: str = "") -> Path:
    """Error on training classes and on test classes over the width of the network.

    Args:
        table: a row for each width: ``width, parameters, train_error, train_low, train_high,
            test_error, test_low, test_high``, errors as shares.
        title: what was trained; a sentence about the best width is put below it.
    """
    table = table.sort_values("width")
    with drawing(path, 7.5, 4.6) as figure:
        axes = figure.subplots()
        for kind, name, color, marker in (
            ("train", "training classes", BLUE, "o"),
            ("test", "test classes, never heard", ORANGE, "s"),
        ):
            columns = ["width", f"{kind}_error", f"{kind}_low", f"{kind}_high"]
            _with_band(axes, table[columns].to_numpy(float), color, marker, name)
        widths, parameters = (table[name].tolist() for name in ("width", "parameters"))
        ticks = [f"{w:g}\n{_short_count(n)}" for w, n in zip(widths, parameters, strict=True)]
        _log_axis(axes, widths, ticks)
        axes.set_xlabel("width of the network, and its parameters")
        axes.set_ylabel("error")
        top = table[["train_high", "test_high"]].to_numpy().max()
        axes.set_ylim(0, min(1.02, 1.15 * top + 0.02))
        percent_axis(axes.yaxis)
        axes.legend(loc="best")
        figure.suptitle(title or "Capacity", x=0.01, ha="left", weight="bold", fontsize=12)
        axes.set_title(capacity_told(table), fontsize=9, weight="normal", color=GREY)
    return path


def capacity_told(table: pd.DataFrame) -> str:
    """Whether more width still helps on the test classes, in a sentence."""
    rows = table.sort_values("width").to_dict("records")
    best = min(rows, key=lambda row: row["test_error"])
    gap = 100 * (best["test_error"] - best["train_error"])
    side = "above" if gap >= 0 else "below"
    told = (
        f"least test error {best['test_error']:.1%} at width {best['width']:g}, {abs(gap):.1f} "
        f"points {side} training"
    )
    if len(rows) < 2:
        return told
    if best is not rows[-1] and rows[-1]["test_low"] > best["test_high"]:
        return f"{told}; wider is worse"
    if best is rows[-1] and best["test_high"] < rows[-2]["test_low"]:
        return f"{told}; wider may still help"
    return f"{told}; wider makes no clear difference"


def _short_count(n: float) -> str:
    return f"{n / 1e6:.3g} M" if n >= 1e6 else f"{n / 1e3:.3g} k" if n >= 1e3 else f"{n:.0f}"


def _log_axis(axes: "Axes", values: Sequence[float], names: Sequence[str]) -> None:
    """A logarithmic x axis whose ticks are the measured values."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels(list(names))


def _with_band(axes: "Axes", rows: np.ndarray, color: str, marker: str, name: str) -> None:
    """A line with its interval as a band; columns are x, y, low and high."""
    x, y, low, high = rows.T
    axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot(x, y, color=color, marker=marker, markersize=6, label=name)
