"""Configurations that an earlier g5 has stored, as this one would have written them."""

from collections.abc import Mapping
from typing import Any

# Where classes that a stored `_target_` may name have moved to.
MOVED = {
    "preprocessing.procedural.ProceduralData": (
        "preprocessing.synthetic.procedural.ProceduralData"
    ),
    "detection.score.PrototypeScorer": "g5.detection.scoring.prototype_scorer.PrototypeScorer",
    "detection.template.TemplateScorer": "g5.detection.scoring.template_scorer.TemplateScorer",
    "detection.energy.EnergyScorer": "g5.detection.scoring.energy_scorer.EnergyScorer",
}


def first_name(target: str) -> str:
    """The name that a class was first stored under: keys of finished work are made of it."""
    return next((old for old, new in MOVED.items() if new == target), target)


def updated(node: Any) -> Any:
    """A stored configuration, or a part of one, with the classes' names of today."""
    if isinstance(node, Mapping):
        return {
            key: MOVED.get(value, value) if key == "_target_" else updated(value)
            for key, value in node.items()
        }
    return [updated(item) for item in node] if isinstance(node, list) else node
