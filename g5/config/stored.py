"""Configurations that a checkpoint has stored: as this g5 would have written them, and changed."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from g5.common.errors import UserError
from g5.config.check import unknown_key
from g5.config.choices import CONF, choices
from g5.config.compose import composed, nearest_key, override_errors, readable, resolve
from g5.config.schema import PathSettings
from g5.config.settings import CHOICES, Settings, check_typed, hints_of, marked


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration; what its g5 had not got yet is as it is by default.

    Model and front end are facts, and stay as they are.
    """
    today = resolve(composed([]))
    groups = {name: own for name, own in today.items() if _is_group(own) and not is_locked(name)}
    arch = {"episodes": today["arch"]["episodes"], "training": today["arch"]["training"]}
    return {
        **stored,
        **{name: _filled(stored.get(name, {}), default) for name, default in groups.items()},
        "arch": {
            **stored["arch"],
            **{name: _filled(stored["arch"][name], default) for name, default in arch.items()},
        },
    }


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping)


def _filled(own: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """``own`` with what it lacks; another class has other keys."""
    if own and own.get("_target_") != default.get("_target_"):
        return dict(own)
    return {**own, **{key: value for key, value in default.items() if key not in own}}


def check_typed_on(checkpoint: Path, overrides: Sequence[str]) -> None:
    """As `check_typed`, and keys of the data, which may be a stored class's own; loads nothing."""
    check_typed(overrides)
    for key in (text.lstrip("+").partition("=")[0] for text in overrides):
        group, _, name = key.rpartition(".")
        files = (CONF / "data").glob("*.yaml") if group == "data" else ()
        known = {one for file in files for one in yaml.safe_load(file.read_text("utf-8"))}
        if known and name not in known and not _stores(checkpoint, name):
            raise unknown_key(name, sorted(known - {"defaults"}), group)


def _stores(checkpoint: Path, name: str) -> bool:
    """Whether a name is among what a checkpoint holds, or it cannot be told."""
    try:
        with ZipFile(checkpoint) as archive:
            parts = [part for part in archive.namelist() if part.endswith("data.pkl")]
            return any(name.encode() in archive.read(part) for part in parts)
    except (BadZipFile, OSError):
        return False


def is_locked(key: str) -> bool:
    """Whether a key, or some key of a group, is a fact of a trained model."""
    schema: type = Settings
    for part in key.split("."):
        members = {member.name: member for member in dataclasses.fields(schema)}
        spread = next((m for m in members.values() if m.metadata.get("spread")), None)
        member = members.get(part, spread)
        if member is None or member.metadata.get("locked"):
            return member is not None
        hint = hints_of(schema).get(part)
        if not isinstance(hint, type) or not dataclasses.is_dataclass(hint):
            return False
        schema = hint
    return any(member.metadata.get("locked") for member in dataclasses.fields(schema))


def classes_named(overrides: Sequence[str]) -> list[str]:
    """The classes that a user's overrides name: ``arch.model._target_=my_pkg.Net`` is one."""
    pairs = [text.partition("=") for text in overrides]
    return [value for key, _, value in pairs if key.endswith("._target_")]


def overridden(
    stored: Mapping[str, Any],
    overrides: Sequence[str],
    values: Mapping[str, Any],
    *,
    root: str | None = None,
) -> Settings:
    """A checkpoint's own configuration with ``overrides`` on top, to test it with.

    Of the stored one model, front end, label map and protocol (with the data, which are only
    read) count: where anything is written or sent it does not say.

    Args:
        stored: the resolved configuration the checkpoint carries.
        overrides: ``key=value`` and ``group=choice``, in Hydra's grammar.
        values: further keys, set as they are.
        root: `path.root_dir`, unless the overrides name one; None: as by default.

    Raises:
        UserError: for an override of what the trained model fixes, naming it.
    """
    config = OmegaConf.create(_escaped(_placed(completed(stored), root)))
    assert isinstance(config, DictConfig)
    OmegaConf.set_struct(config, True)
    parsed = _parsed(overrides)
    known = classes_named(overrides)
    for override in parsed:
        if _is_choice(key := override.key_or_group):
            chosen = resolve(composed([str(override.input_line)]))[key]
            known.append(chosen.get("_target_"))
            OmegaConf.update(config, key, chosen, merge=False)
    given = {o.key_or_group: o.value() for o in parsed if not _is_choice(o.key_or_group)}
    for key, value in _with_data_paths(config, {**given, **values}).items():
        _set(config, key, value)
    return Settings.from_plain(resolve(config), known=known)


def _placed(stored: dict[str, Any], root: str | None) -> dict[str, Any]:
    """``stored`` with the groups that are the user's to say as they are by default."""
    today = resolve(composed([] if root is None else [f"path.root_dir={root}"]))
    places, data, dirs = today["path"], dict(stored["data"]), marked(PathSettings, "data_dir")
    if "root_dir" in data:  # these are made where they are not yet
        data |= {"root_dir": places["root_dir"], **{key: places[key] for key in dirs}}
    else:
        places |= {key: stored["path"].get(key) for key in dirs}
    if data.get("cache_dir") is not None:
        data["cache_dir"] = _cache(places["root_dir"])
    return {**stored, **{name: today[name] for name in marked(Settings, "user")}, "data": data}


def _cache(root_dir: str) -> str:
    return f"{root_dir}/outputs/store"  # as conf/data/*.yaml have it


def _is_choice(key: str) -> bool:
    """Whether ``key=NAME`` chooses a file of `conf/<key>/`, which a test may."""
    return key in hints_of(Settings) and bool(choices(key)) and not is_locked(key)


def _parsed(overrides: Sequence[str]) -> list[Override]:
    """The overrides, none of them of a training run, and none a sweep."""
    with override_errors():
        parsed = OverridesParser.create().parse_overrides(readable(overrides))
    for override in parsed:
        key = override.key_or_group
        if key in (*marked(Settings, "mode"), *CHOICES):
            raise UserError(f"{key}: for training runs; a test starts from its checkpoint")
        if override.is_sweep_override():
            raise UserError(f"{key}: a test takes one value")
    return parsed


def _set(config: DictConfig, key: str, value: Any) -> None:
    if not _exists(config, key):
        raise nearest_key(key, config)
    if key.endswith("._target_") and OmegaConf.select(config, key) == value:
        return  # named once more, so that it may be imported
    if is_locked(key):
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
    if "path.root_dir" in values and config.data.get("cache_dir") is not None:
        of_data["data.cache_dir"] = _cache(values["path.root_dir"])
    return {**of_data, **values}


def _exists(config: DictConfig, key: str) -> bool:
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and last in node
