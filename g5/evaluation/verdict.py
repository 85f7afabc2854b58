"""Whether training went well, judged by its history, with the reason."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from g5.common.words import counted

# The verdict's thresholds. Losses are compared as ratios, accuracies as differences.
LOSS_RISE = 0.10  # val/loss this far above its lowest ...
LOSS_FALL = 0.05  # ... while train/loss fell this far since: overfitting
ACC_DROP = 0.02  # and val/acc this far below its best
LOW_SKILL = 0.5  # half of the way from chance to perfect, on the training episodes
GAIN = 0.01  # a rise of val/acc over the last quarter that calls for more epochs


@dataclass(frozen=True)
class Verdict:
    """How training went: ``converging``, ``overfitting``, ``underfitting``, ``diverged`` or
    ``too short to judge``, and the numbers that say so."""

    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


def verdict(history: pd.DataFrame, *, chance: float) -> Verdict:
    """Judge a training run by its curves.

    Validation classes are never training classes, so a gap between the two accuracies is normal
    here and is not called overfitting; what counts is validation that turns for the worse while
    training goes on improving.

    Args:
        history: as from `g5.tracking.history.read_history`.
        chance: accuracy of guessing in the training episodes, 1 / n_way.
    """
    lost = ~np.isfinite(history["train/loss"].to_numpy())
    if lost.any():
        epoch = history["epoch"].to_numpy()[lost.argmax()]
        advice = "lower arch.training.learning_rate or set arch.training.gradient_clip_val=1"
        return Verdict("diverged", f"train/loss is no number from epoch {epoch} on; {advice}")
    validated = history.dropna(subset=["train/loss", "val/loss", "val/acc"])
    if len(validated) < 3:
        return Verdict("too short to judge", f"{counted(len(validated), 'epoch')} with validation")
    return _overfitting(validated) or _underfitting(validated, chance) or _converging(validated)


def _overfitting(table: pd.DataFrame) -> Verdict | None:
    lowest, last = table.loc[table["val/loss"].idxmin()], table.iloc[-1]
    # The mean of the last two: one bad epoch is no trend.
    recent = table.iloc[-2:].mean()
    rise = recent["val/loss"] / max(lowest["val/loss"], 1e-9) - 1
    fall = 1 - last["train/loss"] / max(lowest["train/loss"], 1e-9)
    drop = table["val/acc"].max() - recent["val/acc"]
    if rise < LOSS_RISE or fall < LOSS_FALL or drop < ACC_DROP:
        return None
    return Verdict(
        "overfitting",
        f"since epoch {lowest['epoch']:.0f} train/loss fell by {fall:.0%} while val/loss rose by "
        f"{rise:.0%} and val/acc lies {100 * drop:.1f} points below its best; more species, more "
        "augmentation or more dropout may help",
    )


def _underfitting(table: pd.DataFrame, chance: float) -> Verdict | None:
    accuracy = table["train/acc"].iloc[-2:].mean()
    if (accuracy - chance) / (1 - chance) >= LOW_SKILL:
        return None
    gain = _late_gain(table)
    advice = "train longer" if gain >= GAIN else "a higher learning rate or a wider model may help"
    state = "still rising" if gain >= GAIN else "no longer rising"
    return Verdict(
        "underfitting",
        f"train/acc is only {accuracy:.1%} at the end (chance {chance:.1%}) and val/acc is "
        f"{state}; {advice}",
    )


def _converging(table: pd.DataFrame) -> Verdict:
    best = table.loc[table["val/acc"].idxmax()]
    if (gain := _late_gain(table)) >= GAIN:
        points = f"{100 * gain:.1f} points"
        reason = f"val/acc still rises, by {points} over the last quarter; more epochs may help"
    else:
        reason = (
            f"val/acc has levelled off near {best['val/acc']:.1%} (best at epoch "
            f"{best['epoch']:.0f}) and val/loss has not turned up"
        )
    return Verdict("converging", reason)


def _late_gain(table: pd.DataFrame) -> float:
    """How much the mean val/acc of the last quarter exceeds that of the quarter before."""
    quarter = max(1, len(table) // 4)
    accuracy = table["val/acc"].to_numpy()
    return float(accuracy[-quarter:].mean() - accuracy[-2 * quarter : -quarter].mean())
