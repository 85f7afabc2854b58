"""The figures of a run, in one style; a module for each kind."""

from evaluation.figures.classes import (
    confusion_matrix,
    per_class_accuracy,
    similarity_order,
    worst_confusions,
)
from evaluation.figures.curves import training_curves
from evaluation.figures.style import BLUE, GREEN, GREY, ORANGE, RED, drawing, percent, short_names

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "RED",
    "confusion_matrix",
    "drawing",
    "per_class_accuracy",
    "percent",
    "short_names",
    "similarity_order",
    "training_curves",
    "worst_confusions",
]
