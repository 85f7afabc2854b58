"""The figures of a run, in one style; a module for each kind."""

from g5.evaluation.figures.answers import confidence_histogram, reliability_diagram
from g5.evaluation.figures.classes import (
    confusion_matrix,
    per_class_accuracy,
    similarity_order,
    worst_confusions,
)
from g5.evaluation.figures.curves import capacity_curve, shot_curve, training_curves
from g5.evaluation.figures.maps import embedding_map
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
    short_names,
)

__all__ = [
    "BLUE",
    "COLORS",
    "GREEN",
    "GREY",
    "MARKERS",
    "ORANGE",
    "RED",
    "capacity_curve",
    "confidence_histogram",
    "confusion_matrix",
    "drawing",
    "embedding_map",
    "per_class_accuracy",
    "percent_axis",
    "reliability_diagram",
    "short_names",
    "shot_curve",
    "similarity_order",
    "training_curves",
    "worst_confusions",
]
