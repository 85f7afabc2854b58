"""What earlier versions of g5 stored: names that have changed, settings that are gone or new.

Reading a checkpoint needs this and no more: no Hydra.
"""

from collections.abc import Mapping
from typing import Any

from g5.common.errors import UserError

# Where classes that a stored `_target_` may name have moved to.
MOVED = {
    "preprocessing.procedural.ProceduralData": (
        "preprocessing.synthetic.procedural.ProceduralData"
    ),
    "transfer.onnx_encoder.OnnxEncoder": "g5.embeddings.encoders.onnx_encoder.OnnxEncoder",
    "detection.score.PrototypeScorer": "g5.detection.scoring.prototype_scorer.PrototypeScorer",
    "detection.template.TemplateScorer": "g5.detection.scoring.template_scorer.TemplateScorer",
    "detection.energy.EnergyScorer": "g5.detection.scoring.energy_scorer.EnergyScorer",
}
V2 = "archs.v2.arch.ProtoNetV2"
# What v2 called learnable was the bounded MLP over pairs.
RENAMED_DISTANCES = {"learnable": "mlp"}
# What v2 has got since; with no timbre the others decide nothing.
NO_TIMBRE = {"timbre_dim": 0, "timbre_sharpness": 5.0, "timbre_weight": 0.25}
NO_SCATTER = {"scatter_floor": None}
# Data of tables, which have got a key since: what the tables call our columns.
TABLES = ("preprocessing.datasets.AnnotatedData", "preprocessing.datasets.ClipsData")
# How a learned map is made, which decides nothing once it is.
SHRINK = {"metric_shrink": 0.5}
# What baselines of detection called threshold, by their classes.
CUTS = {"TemplateScorer": "correlation", "EnergyScorer": "deviations"}
# Settings that are no more, and the value that was off.
GONE = {
    "arch.training": {
        "pretrain_loss": "classes", "pretrain_labels": "classes", "pretrain_mixup": 0.0,
        "batch_norm": "together", "ema_decay": 0.0,
    },
    "arch.episodes": {"test_views": 1, "negatives": False},
}  # fmt: skip


def first_name(target: str) -> str:
    """The name that a class was first stored under: keys of finished work are made of it."""
    return next((old for old, new in MOVED.items() if new == target), target)


def first_facts(model: Mapping[str, Any]) -> dict[str, Any]:
    """A node `arch.model` as it would first have been stored: keys of finished work hash it.

    Nothing is lost: one channel, and the rank and floor of what is not there, decide no number.
    """
    facts = {key: value for key, value in model.items() if key not in SHRINK}
    if not facts.get("timbre_dim"):
        facts = {key: value for key, value in facts.items() if key not in NO_TIMBRE}
    learnable = facts.get("distance") == "learnable"
    if not learnable or facts.get("scatter_floor") is None:
        facts.pop("scatter_floor", None)
    if facts.get("_target_") != V2 or learnable:
        return facts
    del facts["metric_rank"]
    if facts["input_channels"] == 1:
        del facts["input_channels"]
    first = {new: old for old, new in RENAMED_DISTANCES.items()}
    return facts | {"distance": first.get(facts["distance"], facts["distance"])}


def first_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of today as it would first have been stored; as `first_facts`."""
    arch, features = config["arch"], dict(config["features"])
    if features["channels"] == 1:
        del features["channels"]
    groups = {name: arch[name] | GONE[f"arch.{name}"] for name in ("episodes", "training")}
    data = config["data"] | {"_target_": first_name(config["data"]["_target_"])}
    if data.get("columns") is None:
        data.pop("columns", None)
    arch = {**arch, **groups, "model": first_facts(arch["model"])}
    return {**config, "arch": arch, "features": features, "data": data}


def updated(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration with the names and keys of today, without what is gone and was off."""
    config = dict(_renamed(config))
    if isinstance(config.get("features"), dict):
        config["features"].setdefault("channels", 1)
    if isinstance(data := config.get("data"), dict) and data.get("_target_") in TABLES:
        data.setdefault("columns", None)
    model = config.get("arch", {}).get("model")
    if isinstance(model, dict) and model.get("_target_") == V2 and "metric_rank" not in model:
        distance = RENAMED_DISTANCES.get(model["distance"], model["distance"])
        model.update({"input_channels": 1, "metric_rank": 1, "distance": distance})
    if isinstance(model, dict) and model.get("_target_") == V2:
        config["arch"]["model"] = NO_TIMBRE | NO_SCATTER | SHRINK | model
    if isinstance(config.get("detection"), dict):
        config["detection"] = _detection(config["detection"])
    for where, off in GONE.items():
        _, _, name = where.rpartition(".")
        group = config.get("arch", {}).get(name)
        if isinstance(group, dict):
            config["arch"][name] = {
                key: value for key, value in group.items() if key not in off or value != off[key]
            }
    return config


def _detection(group: Mapping[str, Any]) -> dict[str, Any]:
    """The group without what was learnt at test time, which decided nothing of the training."""
    names = {"threshold": CUTS.get(str(group.get("_target_")).rpartition(".")[2], "threshold")}
    if "gate" in group:
        names = {}
    return {
        names.get(key, key): value for key, value in group.items() if not key.startswith("adapt")
    }


def _renamed(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {
            key: MOVED.get(value, value) if key == "_target_" else _renamed(value)
            for key, value in node.items()
        }
    return [_renamed(item) for item in node] if isinstance(node, list) else node


def refuse_gone(config: Mapping[str, Any]) -> None:
    """Raise `UserError` where an updated configuration has a setting on that is no more."""
    for where, off in GONE.items():
        group = config.get("arch", {}).get(where.rpartition(".")[2], {})
        for key in off:
            if key in group:
                raise UserError(
                    f"{where}.{key}={group[key]}: this g5 has no such setting any more; use the "
                    "g5 that trained it, or train anew"
                )
