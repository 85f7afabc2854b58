"""Curves: training over epochs, accuracy over shots, error over width."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evaluation.figures.style import (
    BLUE,
    COLORS,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    RED,
    drawing,
    percent,
)
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


# --- accuracy over shots ----------------------------------------------------------------------


def shot_curve(table: pd.DataFrame, path: Path, *, chance: float, title: str = "") -> Path:
    """Accuracy over the number of support calls, with 95 % intervals.

    Args:
        table: ``k_shot, accuracy, low, high``, and ``name`` where there are several curves.
        chance: accuracy of guessing, 1 / n_way.
        title: what was tested; a sentence about the gain is put below it.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    curves = _by_name(table)
    with drawing(path, 7.5, 4.6) as figure:
        axes = figure.subplots()
        for (name, rows), color, marker in zip(curves, COLORS, MARKERS, strict=False):
            _with_band(axes, rows["k_shot"], rows, color, marker, name)
        axes.axhline(chance, color=GREY, linestyle=":", linewidth=1.5, label="chance")
        axes.set_xscale("log")
        shots = sorted(table["k_shot"].unique())
        axes.xaxis.set_major_locator(FixedLocator(shots))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([str(k) for k in shots])
        axes.set_xlabel("support calls of each class (shots)")
        axes.set_ylabel("accuracy")
        axes.set_ylim(0, 1.02)
        percent(axes.yaxis)
        axes.legend(loc="lower right")
        figure.suptitle(
            title or "Accuracy over shots", x=0.01, ha="left", weight="bold", fontsize=12
        )
        axes.set_title(_gain(curves[0][1]), fontsize=9, weight="normal", color=GREY)
    return path


def _gain(rows: pd.DataFrame) -> str:
    """What the last and the first step of shots bring."""
    if len(rows) < 2:
        return ""
    k, accuracy = rows["k_shot"].tolist(), rows["accuracy"].tolist()
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
            test_error, test_low, test_high``, errors as shares; several seeds of a width are
            several rows.
        title: what was trained; a sentence about the best width is put below it.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    table = table.sort_values("width")
    with drawing(path, 7.5, 4.6) as figure:
        axes = figure.subplots()
        for kind, name, color, marker in (
            ("train", "training classes", BLUE, "o"),
            ("test", "test classes, never heard", ORANGE, "s"),
        ):
            mean = table.groupby("width").mean(numeric_only=True).reset_index()
            rows = mean.rename(columns={
                f"{kind}_error": "accuracy", f"{kind}_low": "low", f"{kind}_high": "high"
            })  # fmt: skip
            _with_band(axes, rows["width"], rows, color, marker, name)
            axes.plot(table["width"], table[f"{kind}_error"], ".", color=color, markersize=5)
        widths = sorted(table["width"].unique())
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(widths))
        axes.xaxis.set_minor_locator(NullLocator())
        size = table.groupby("width")["parameters"].first()
        axes.set_xticklabels([f"{w:g}\n{_short_count(float(size[w]))}" for w in widths])
        axes.set_xlabel("width of the network, and its parameters")
        axes.set_ylabel("error")
        top = table[["train_high", "test_high"]].to_numpy().max()
        axes.set_ylim(0, min(1.02, 1.15 * top + 0.02))
        percent(axes.yaxis)
        axes.legend(loc="best")
        figure.suptitle(title or "Capacity", x=0.01, ha="left", weight="bold", fontsize=12)
        axes.set_title(capacity_told(table), fontsize=9, weight="normal", color=GREY)
    return path


def capacity_told(table: pd.DataFrame) -> str:
    """Whether more width still helps on the test classes, in a sentence."""
    mean = table.groupby("width").mean(numeric_only=True)
    best, widest = mean["test_error"].idxmin(), mean.index.max()
    error = mean["test_error"]
    gap = error[best] - mean["train_error"][best]
    told = (
        f"least test error {error[best]:.1%} at width {best:g}, {100 * gap:.1f} points above "
        "training"
    )
    if len(mean) < 2:
        return told
    if best != widest and mean["test_low"][widest] > mean["test_high"][best]:
        return f"{told}; wider is worse"
    if best == widest and mean["test_high"][best] < mean["test_low"][mean.index[-2]]:
        return f"{told}; wider may still help"
    return f"{told}; wider makes no clear difference"


def _short_count(n: float) -> str:
    return f"{n / 1e6:.3g} M" if n >= 1e6 else f"{n / 1e3:.3g} k" if n >= 1e3 else f"{n:.0f}"


def _by_name(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each curve, in the order of the table's names, sorted by shots."""
    if "name" not in table:
        table = table.assign(name="accuracy, 95 % interval")
    groups = table.groupby("name", sort=False)
    return [(str(name), rows.sort_values("k_shot")) for name, rows in groups]


def _with_band(
    axes: "Axes", x: pd.Series, rows: pd.DataFrame, color: str, marker: str, name: str
) -> None:
    """A line with its interval as a band."""
    axes.fill_between(x, rows["low"], rows["high"], color=color, alpha=0.2, linewidth=0)
    axes.plot(x, rows["accuracy"], color=color, marker=marker, markersize=6, label=name)
