"""How the classes fared: the confusion matrix, and the accuracy of each class.

Shapes: C classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from g5.evaluation.figures.style import BLUE, GREY, RED, drawing, percent_axis, short_names
from g5.evaluation.intervals import Interval, mean_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    percent_axis(bar.ax.yaxis)
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
            f"Accuracy of {len(order_C)} classes: mean over episodes "
            f"{mean_text(interval)}", x=0.01, ha="left", weight="bold", fontsize=12,
        )  # fmt: skip
        for column, axes in enumerate(figure.subplots(1, n_columns, squeeze=False)[0]):
            part_C = order_C[column * n_rows : (column + 1) * n_rows]
            shown = [names[i] for i in part_C]
            _accuracy_bars(axes, accuracy_C[part_C], support_C[part_C], shown, n_rows, size)
            axes.axvline(interval.mean, color=RED, linewidth=1.5, label="mean over episodes")
            axes.axvline(chance, color=GREY, linestyle=":", linewidth=1.5, label="chance")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return path


def _accuracy_bars(
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
    percent_axis(axes.xaxis)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    for y, (share, queries) in enumerate(zip(accuracy, support, strict=True)):
        axes.text(
            1.01, y, f"{share:.0%} of {queries:,}", va="center", fontsize=size, color="#333333"
        )
