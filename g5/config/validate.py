"""The composed configuration against its schema, before any work starts."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from g5.common.errors import UserError
from g5.config.build import locate, signature_hints
from g5.config.check import check_mapping
from g5.config.schema import GROUPS, Clips, Config, Detection


def hints_of(schema: type) -> dict[str, Any]:
    """Field names and types of a dataclass."""
    hints = typing.get_type_hints(schema, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(schema)}


def resolve(config: DictConfig) -> dict[str, Any]:
    """Plain containers with every interpolation resolved."""
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    return typing.cast("dict[str, Any]", plain)


def validate(config: Mapping[str, Any]) -> None:
    """Check every key of a resolved configuration.

    Raises:
        UserError: naming the first key that is unknown, missing, of a wrong type, out of its range
            or at odds with another, and what would fit.
    """
    check_mapping(config, hints_of(Config), "")
    for where, schema in GROUPS.items():
        check_mapping(_node(config, where), hints_of(schema), where)
    for where in ("data", "features", "detection", "arch.model", "arch.augmentation"):
        node = _node(config, where)
        if node is None:
            continue
        if "_target_" not in node:
            raise UserError(f"{where}._target_: missing; it names the class this group configures")
        hints = signature_hints(locate(node["_target_"], where))
        if where == "features":
            hints |= hints_of(Clips)
        if where == "detection":
            hints |= hints_of(Detection)
        check_mapping({k: v for k, v in node.items() if k != "_target_"}, hints, where)
    _check_across(config)


def _node(config: Mapping[str, Any], where: str) -> Any:
    node: Any = config
    for key in where.split("."):
        node = node[key]
    return node


def _check_across(config: Mapping[str, Any]) -> None:
    """What no single key can know."""
    if config["arch"]["episodes"]["n_way"] < 2:
        raise UserError("arch.episodes.n_way: must be at least 2: with one class all are right")
    if config["features"]["max_clip_s"] < config["features"]["min_clip_s"]:
        raise UserError("features.max_clip_s: must be at least features.min_clip_s")
    training = config["arch"]["training"]
    if training["scheduler"] == "plateau" and training["scheduler_gamma"] >= 1:
        raise UserError("arch.training.scheduler_gamma: must be below 1 for scheduler=plateau")
    if training["pretrain_loss"] == "supcon" and training["pretrain_mixup"]:
        raise UserError("arch.training.pretrain_mixup: only for pretrain_loss=classes; set it to 0")
    if not config["train"] and not config["test"]:
        raise UserError("train, test: both are false, so there is nothing to do")
    if not config["train"] and not training["load_weight_from"]:
        raise UserError(
            "arch.training.load_weight_from: name a checkpoint; with train=false there is no other"
        )
    if config["resume"] and not config["train"]:
        raise UserError("resume: only a training run can be resumed; leave train=false away")
