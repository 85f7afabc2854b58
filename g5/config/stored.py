"""Configurations that a checkpoint has stored: as this g5 would have written them, and changed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from g5.common.errors import UserError
from g5.config.compose import composed, nearest_key, override_errors, resolve
from g5.config.overrides import readable
from g5.config.settings import Settings

# In a checkpoint's own configuration these are facts of the trained model.
LOCKED_IN_A_CHECKPOINT = ("arch", "features")
# Groups whose choice may be another one.
FREE_GROUPS = ("data", "trainer", "logger", "callbacks", "detection")
FREE_IN_A_CHECKPOINT = (
    "arch.episodes", "features.clip", "features.clip_s", "features.min_clip_s",
    "features.max_clip_s", "features.workers", "features.block_s",
)  # fmt: skip
OF_TRAINING = ("train", "test", "resume", "debug", "experiment")
# Where classes that a stored `_target_` may name have moved to.
MOVED = {
    "preprocessing.procedural.ProceduralData": (
        "preprocessing.synthetic.procedural.ProceduralData"
    ),
    "transfer.onnx_encoder.OnnxEncoder": "g5.embeddings.onnx_encoder.OnnxEncoder",
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


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration; what its g5 had not got yet is as it is by default."""
    today = resolve(composed([]))
    arch = dict(stored["arch"])
    for name in ("episodes", "training"):
        arch[name] = {**arch[name], **_absent(arch[name], today["arch"][name])}
    groups = {}
    for name in FREE_GROUPS:
        own = stored.get(name, {})
        # Another class has other keys.
        same = not own or own.get("_target_") == today[name].get("_target_")
        groups[name] = {**own, **(_absent(own, today[name]) if same else {})}
    return {**stored, "arch": arch, **groups}


def _absent(own: Mapping[str, Any], today: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in today.items() if key not in own}


def classes_named(overrides: Sequence[str]) -> list[str]:
    """The classes that a user's overrides name: ``arch.model._target_=my_pkg.Net`` is one."""
    pairs = [text.partition("=") for text in overrides]
    return [value for key, _, value in pairs if key.endswith("._target_")]


def on_checkpoint(
    stored: Mapping[str, Any], overrides: Sequence[str], values: Mapping[str, Any]
) -> Settings:
    """A checkpoint's own configuration with ``overrides`` on top, to test it with.

    Args:
        stored: the resolved configuration the checkpoint carries.
        overrides: ``key=value`` and ``group=choice``, in Hydra's grammar.
        values: further keys, set as they are.

    Raises:
        UserError: for an override of what the trained model fixes, naming it.
    """
    config = OmegaConf.create(_escaped(completed(stored)))
    assert isinstance(config, DictConfig)
    OmegaConf.set_struct(config, True)
    parsed = _parsed(overrides)
    known = classes_named(overrides)
    for override in parsed:
        if (key := override.key_or_group) in FREE_GROUPS:
            chosen = resolve(composed([str(override.input_line)]))[key]
            known.append(chosen.get("_target_"))
            OmegaConf.update(config, key, chosen, merge=False)
    given = {o.key_or_group: o.value() for o in parsed if o.key_or_group not in FREE_GROUPS}
    for key, value in _with_data_paths(config, {**given, **values}).items():
        _set(config, key, value)
    return Settings.from_plain(resolve(config), known=known)


def _parsed(overrides: Sequence[str]) -> list[Override]:
    """The overrides, none of them of a training run, and none a sweep."""
    with override_errors():
        parsed = OverridesParser.create().parse_overrides(readable(overrides))
    for override in parsed:
        key = override.key_or_group
        if key in OF_TRAINING:
            raise UserError(f"{key}: for training runs; a test starts from its checkpoint")
        if override.is_sweep_override():
            raise UserError(f"{key}: a test takes one value")
    return parsed


def _set(config: DictConfig, key: str, value: Any) -> None:
    if not _exists(config, key):
        raise nearest_key(key, config)
    if key.endswith("._target_") and OmegaConf.select(config, key) == value:
        return  # named once more, so that it may be imported
    if _is_in(key, LOCKED_IN_A_CHECKPOINT) and not _is_in(key, FREE_IN_A_CHECKPOINT):
        raise UserError(
            f"{key}: fixed by the checkpoint; data, protocol, trainer and logger may be overridden"
        )
    OmegaConf.update(config, key, value, merge=False)


def _escaped(stored: Any) -> Any:
    """Stored texts are what they are: none is an interpolation, which could read the environment.

    A backslash before ``${`` is OmegaConf's mark for that.
    """
    if isinstance(stored, Mapping):
        return {key: _escaped(value) for key, value in stored.items()}
    if isinstance(stored, list | tuple):
        return [_escaped(item) for item in stored]
    if isinstance(stored, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", stored)
    return stored


def _with_data_paths(config: DictConfig, values: dict[str, Any]) -> dict[str, Any]:
    """``values``, and what a changed `path.*` means for the data group.

    The YAML says it by interpolation, and a stored configuration has none left.
    """
    of_data = {
        f"data.{key}": values[f"path.{name}"]
        for key in config.data
        if f"path.{(name := 'train_dir' if key == 'root' else key)}" in values
    }
    return {**of_data, **values}


def _is_in(key: str, groups: Sequence[str]) -> bool:
    return any(key == group or key.startswith(group + ".") for group in groups)


def _exists(config: DictConfig, key: str) -> bool:
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and last in node
