"""How far probabilities can be believed: calibration, and confidence of right and wrong answers.

Shapes: A answers, B bins.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.words import counted
from g5.evaluation.figures.style import BLUE, GREY, ORANGE, drawing, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 10  # answers of a bin, below which it is drawn pale


def reliability_diagram(
    confidence_A: np.ndarray,
    hit_A: np.ndarray,
    path: Path,
    *,
    chance: float,
    error: float | None = None,
    remark: str = "",
) -> Path:
    """How often answers of a confidence are right, and how many there are of it.

    Args:
        confidence_A: probability of the answer, 0 to 1.
        hit_A: whether it is right.
        chance: accuracy of guessing; no answer is less confident.
        error: expected calibration error for the title.
        remark: about the probabilities, e.g. their temperature.

    Raises:
        UserError: there are no answers, or a confidence is no probability.
    """
    _refuse_unusable(confidence_A)
    # Late: torchmetrics is heavy.
    from g5.evaluation.metrics import reliability

    table = reliability(confidence_A, hit_A)
    mean_B, accuracy_B = table["confidence"].to_numpy(), table["accuracy"].to_numpy()
    gap = float(np.mean(confidence_A) - np.mean(hit_A))
    with drawing(path, 6.2, 6.4) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
        upper.plot(
            [0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.5, label="as it should be"
        )
        upper.axhline(chance, color=GREY, linestyle=":", linewidth=1.5, label="chance")
        upper.vlines(mean_B, *np.sort([mean_B, accuracy_B], axis=0), color=ORANGE, linewidth=5,
                     alpha=0.6, label="gap")  # fmt: skip
        many_B = table["answers"].to_numpy() >= FEW
        upper.plot(mean_B[many_B], accuracy_B[many_B], "o-", color=BLUE, label="answers")
        if not many_B.all():
            upper.plot(mean_B[~many_B], accuracy_B[~many_B], "o", color=BLUE, alpha=0.3,
                       label=f"fewer than {FEW}")  # fmt: skip
        upper.set_ylim(-0.02, 1.02)
        upper.set_ylabel("share of them that is right")
        upper.legend(loc="upper left")
        _shares(lower, table)
        for axes in (upper.yaxis, lower.xaxis, lower.yaxis):
            percent_axis(axes)
        kind = (
            "well calibrated" if abs(gap) < 0.02 else "too sure" if gap > 0 else "not sure enough"
        )
        told = "" if error is None else f", expected calibration error {error:.1%}"
        figure.suptitle(f"On the whole {kind}{told}", x=0.01, ha="left", weight="bold", fontsize=12)
        means = f"{np.mean(confidence_A):.1%} confident, {np.mean(hit_A):.1%} right"
        upper.set_title("; ".join(filter(None, [means, remark])), fontsize=9, weight="normal",
                        color=GREY)  # fmt: skip
    return path


def _shares(axes: "Axes", table: pd.DataFrame) -> None:
    """How many answers each bin has."""
    width = table["high"] - table["low"]
    share = table["answers"] / table["answers"].sum()
    axes.bar(table["low"], share, width=0.92 * width, align="edge", color=BLUE)
    axes.set_xlim(0, 1)
    axes.set_xlabel("confidence of an answer")
    axes.set_ylabel("of all answers")


def confidence_histogram(
    confidence_A: np.ndarray, hit_A: np.ndarray, path: Path, *, chance: float
) -> Path:
    """The confidence of right answers above, of wrong ones below the line.

    Args:
        confidence_A: probability of the answer, 0 to 1.
        hit_A: whether it is right.
        chance: accuracy of guessing; no answer is less confident.

    Raises:
        UserError: there are no answers, or a confidence is no probability.
    """
    _refuse_unusable(confidence_A)
    hit_A = hit_A.astype(bool)
    edges = np.linspace(0, 1, 41)
    total = len(confidence_A)
    with drawing(path, 7.5, 4) as figure:
        axes = figure.subplots()
        for side, chosen_A, color, name in (
            (1, hit_A, BLUE, "right"),
            (-1, ~hit_A, ORANGE, "wrong"),
        ):
            share = np.histogram(confidence_A[chosen_A], edges)[0] / total
            label = f"{name}: {counted(chosen_A.sum(), 'answer')}{_median(confidence_A[chosen_A])}"
            axes.bar(
                edges[:-1], side * share, width=0.9 / 40, align="edge", color=color, label=label
            )
        axes.axhline(0, color=GREY, linewidth=1)
        axes.axvline(chance, color=GREY, linestyle=":", linewidth=1.5, label="chance")
        axes.set_xlim(0, 1)
        percent_axis(axes.xaxis)
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * abs(share):.3g}%")
        axes.set_xlabel("confidence of an answer")
        axes.set_ylabel("of all answers")
        figure.legend(loc="outside lower center", ncols=3)
        figure.suptitle(_sure_and_wrong(confidence_A, hit_A), x=0.01, ha="left", weight="bold",
                        fontsize=12)  # fmt: skip
    return path


def _sure_and_wrong(confidence_A: np.ndarray, hit_A: np.ndarray) -> str:
    sure_A = confidence_A >= 0.9
    if not sure_A.any():
        return "No answer is 90% confident or more"
    wrong = 1 - hit_A[sure_A].mean()
    return (
        f"{sure_A.mean():.0%} of answers are 90% confident or more; {wrong:.1%} of those are wrong"
    )


def _median(confidence_A: np.ndarray) -> str:
    return f", median {np.median(confidence_A):.0%}" if len(confidence_A) else ""


def _refuse_unusable(confidence_A: np.ndarray) -> None:
    if not len(confidence_A):
        raise UserError(
            "there are no answers to draw; arch.episodes.test_episodes must be 1 or more"
        )
    bad = ~((confidence_A >= 0) & (confidence_A <= 1 + 1e-6))
    if bad.any():
        raise UserError(
            f"{bad.sum():,} of {len(bad):,} confidences are NaN or outside 0 to 1; the weights are "
            "not usable: test an earlier checkpoint"
        )
