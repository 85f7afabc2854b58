"""The figures of a run, in one style: training curves, confusion matrix, per-class accuracy.

Colours are Okabe and Ito's (2008), told apart by colour-blind eyes; ramps are of one hue or
perceptually even. Figures are PNG, drawn without a display.

Shapes: C classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evaluation.history import best_epoch, verdict
from evaluation.intervals import Interval
from preprocessing.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6B6B6B"
DPI = 150
NAME_LENGTH = 30  # characters of a class name, longer ones lose their middle
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,  # a $ in a class name is a $
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.framealpha": 0.85,
    "legend.edgecolor": "white",
    "lines.linewidth": 2,
    "figure.facecolor": "white",
}


@contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator["Figure"]:
    """Yield a figure of that many inches in the house style; it is saved whole at the end."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=DPI, format="png")


def short_names(names: Sequence[str], length: int = NAME_LENGTH) -> list[str]:
    """Names cut to ``length`` characters where they are longer, and still told apart.

    The middle goes, for names of species differ at both ends; names that would then look alike
    keep the part where they begin to differ.
    """
    short = [_without_middle(name, length) for name in names]
    for clash in {text for text in short if short.count(text) > 1}:
        where = [i for i, text in enumerate(short) if text == clash]
        group = [names[i] for i in where]
        start = max(0, _first_difference(group) - 4)
        head, tail = length // 3, length - length // 3 - 1
        cut = [f"{name[:head]}…{name[start : start + tail]}" for name in group]
        for i, text, name in zip(where, cut, group, strict=True):
            short[i] = text if len(set(cut)) == len(cut) and text not in short else name
    return short


def _first_difference(names: Sequence[str]) -> int:
    """How many characters all names begin with alike."""
    columns = enumerate(zip(*names, strict=False))
    return next((i for i, letters in columns if len(set(letters)) > 1), min(map(len, names)))


def _without_middle(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"


# --- training curves --------------------------------------------------------------------------


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
        _percent(middle.yaxis)
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


def _percent(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1, decimals=0))


# --- confusion matrix -------------------------------------------------------------------------


def confusion_matrix(confusion_CC: np.ndarray, labels: Sequence[str], path: Path) -> Path:
    """What each class is taken for, in shares of the class's queries; alike classes are neighbours.

    Args:
        confusion_CC: counts, true class by row. Classes that were never asked are left out.
        labels: C names.
    """
    asked_C = confusion_CC.sum(1) > 0
    labels = short_names([name for name, asked in zip(labels, asked_C, strict=True) if asked])
    counts_CC = confusion_CC[asked_C][:, asked_C].astype(np.float64)
    share_CC = counts_CC / confusion_CC[asked_C].sum(1, keepdims=True)
    order_C = similarity_order(share_CC)
    share_CC, labels = share_CC[np.ix_(order_C, order_C)], [labels[i] for i in order_C]
    n = len(labels)
    cell = 0.62 if n <= 12 else 0.36 if n <= 40 else 0.17
    size = 10 if n <= 12 else 8 if n <= 100 else 0  # names of more classes cannot be read
    margin = 0.085 * size / 10 * max(map(len, labels)) + 0.6
    side = min(max(cell * n, 3.2), 20)
    with drawing(path, side + margin + 1.2, side + margin + 1.0) as figure:
        axes = figure.subplots()
        bar = _matrix(figure, axes, share_CC, labels, size)
        # Large figures are seen scaled down: what is not a class name grows with them.
        scale = max(1.0, side / 8)
        title = f"What {n} classes are taken for"
        figure.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=12 * scale)
        told = worst_confusions(share_CC, labels)
        axes.set_title(told, fontsize=9 * scale, weight="normal", color=GREY)
        for text in (axes.xaxis.label, axes.yaxis.label, bar.yaxis.label):
            text.set_fontsize(10 * scale)
        bar.tick_params(labelsize=9 * scale)
    return path


def _matrix(
    figure: "Figure", axes: "Axes", share_CC: np.ndarray, labels: Sequence[str], size: int
) -> "Axes":
    """Draw the cells and their names; returns the colour bar's axes."""
    from matplotlib.colors import PowerNorm

    # The root of the share, so that a confusion of a few per cent can be seen.
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    image = axes.imshow(share_CC, cmap="Blues", norm=norm, interpolation="nearest")
    n = len(labels)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.grid(False)
    axes.set_xticks(range(n) if size else [], labels if size else [], rotation=90, fontsize=size)
    axes.set_yticks(range(n) if size else [], labels if size else [], fontsize=size)
    axes.tick_params(length=0)
    # Thin white lines between cells, so that a row can be followed to its name.
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#E5E5E5", linewidth=0.4)
    axes.tick_params(which="minor", length=0)
    if n <= 40:
        _cell_numbers(axes, share_CC, size)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, shrink=0.6,
                          ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1])  # fmt: skip
    bar.set_label("share of the class's queries")
    bar.outline.set_visible(False)  # type: ignore[operator]
    _percent(bar.ax.yaxis)
    return bar.ax


def _cell_numbers(axes: "Axes", share_CC: np.ndarray, size: int) -> None:
    """Per cent in every cell that rounds to one at least."""
    for row, column in zip(*np.where(share_CC >= 0.005), strict=True):
        share = share_CC[row, column]
        color = "white" if share > 0.35 else "#222222"
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=color,
                  fontsize=size - 1)  # fmt: skip


def similarity_order(share_CC: np.ndarray) -> np.ndarray:
    """An order of classes in which those that are confused stand together.

    Average-linkage clustering on one minus the mutual confusion, leaves ordered optimally
    (Bar-Joseph et al. 2001).
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(share_CC) < 3:
        return np.arange(len(share_CC))
    distance_CC = 1 - (share_CC + share_CC.T) / 2
    np.fill_diagonal(distance_CC, 0)
    tree = linkage(squareform(distance_CC, checks=False), "average", optimal_ordering=True)
    return leaves_list(tree)


def worst_confusions(share_CC: np.ndarray, labels: Sequence[str], n: int = 3) -> str:
    """The ``n`` largest shares off the diagonal, in words."""
    off_CC = share_CC * (1 - np.eye(len(share_CC)))
    flat = np.argsort(off_CC, axis=None)[::-1][:n]
    pairs = [(i, j) for i, j in zip(*np.unravel_index(flat, off_CC.shape), strict=True)]
    told = [f"{labels[i]} → {labels[j]} {off_CC[i, j]:.0%}" for i, j in pairs if off_CC[i, j] > 0]
    return "\n".join(["Most confused:", *told]) if told else "No class is ever confused."


# --- per-class accuracy -----------------------------------------------------------------------


def per_class_accuracy(
    accuracy_C: np.ndarray,
    support_C: np.ndarray,
    labels: Sequence[str],
    path: Path,
    *,
    interval: Interval,
    chance: float,
) -> Path:
    """Accuracy of every class, best first, with its number of queries, the mean and chance.

    Args:
        accuracy_C: NaN for a class that was never asked, which is left out.
        support_C: queries of each class.
        interval: of the accuracy over episodes.
        chance: accuracy of guessing.
    """
    asked_C = np.where(support_C > 0)[0]
    order_C = asked_C[np.argsort(-accuracy_C[asked_C], kind="stable")]
    names = dict(zip(order_C, short_names([str(labels[i]) for i in order_C]), strict=True))
    n_columns = 1 if len(order_C) <= 40 else 2 if len(order_C) <= 120 else 4
    n_rows = -(-len(order_C) // n_columns)
    size = 9 if n_columns == 1 else 7.5
    height = max(2.6, 0.24 * n_rows * size / 9 + 1.5)
    with drawing(path, 7.5 if n_columns == 1 else 5.2 * n_columns, height) as figure:
        figure.suptitle(
            f"Accuracy of {len(order_C)} classes: mean over episodes {interval.mean:.1%} "
            f"± {interval.half_width:.1%}", x=0.01, ha="left", weight="bold", fontsize=12,
        )  # fmt: skip
        for column, axes in enumerate(figure.subplots(1, n_columns, squeeze=False)[0]):
            part_C = order_C[column * n_rows : (column + 1) * n_rows]
            _bars(axes, accuracy_C[part_C], support_C[part_C], [names[i] for i in part_C], n_rows,
                  size)  # fmt: skip
            axes.axvline(interval.mean, color=RED, linewidth=1.5, label="mean over episodes")
            axes.axvline(chance, color=GREY, linestyle=":", linewidth=1.5, label="chance")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return path


def _bars(
    axes: "Axes",
    accuracy: np.ndarray,
    support: np.ndarray,
    labels: Sequence[str],
    n_rows: int,
    size: float,
) -> None:
    """Bars from the top down, each with its accuracy and its number of queries."""
    place = np.arange(len(labels))
    axes.barh(place, accuracy, color=BLUE, height=0.7)
    axes.set_yticks(place, labels, fontsize=size)
    axes.set_ylim(n_rows - 0.4, -0.6)
    axes.set_xlim(0, 1)
    _percent(axes.xaxis)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    for y, (share, queries) in enumerate(zip(accuracy, support, strict=True)):
        axes.text(
            1.01, y, f"{share:.0%} of {queries:,}", va="center", fontsize=size, color="#333333"
        )
