"""Hydra's side of the configuration: compose it, and say in one line what an override got wrong."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from g5.common.errors import UserError
from g5.config.check import unknown_key
from g5.config.choices import CONF
from g5.config.overrides import readable
from g5.config.validate import resolve

# In a checkpoint's own configuration these are facts of the trained model.
LOCKED_IN_A_CHECKPOINT = ("arch", "features")
# Groups whose choice may be another one.
FREE_GROUPS = ("data", "trainer", "logger", "callbacks", "detection")
FREE_IN_A_CHECKPOINT = (
    "arch.episodes", "features.clip", "features.clip_s", "features.min_clip_s",
    "features.max_clip_s", "features.workers", "features.block_s",
)  # fmt: skip
OF_TRAINING = ("train", "test", "resume", "debug", "experiment")


def composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration with ``overrides`` applied, as ``archs/train.py`` would see it."""
    with override_errors(), hydra_initialised():
        return compose("config", overrides=readable(overrides))


@contextmanager
def hydra_initialised() -> Iterator[None]:
    """Hydra's compose API on `conf/`, from any directory; a running Hydra is put back after."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = before


@contextmanager
def override_errors() -> Iterator[None]:
    """Turn Hydra's errors into one line that names the key and what to do."""
    try:
        yield
    except HydraException as error:
        raise UserError(_one_line(error)) from error
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def _one_line(error: HydraException) -> str:
    text = str(error)
    bad_key = re.search(r"Could not (?:override|append to config\.) '([^']+)'", text)
    if bad_key and "already at" not in text:
        # Against the keys of every group's default.
        return str(_nearest_key(bad_key.group(1), composed([])))
    group = re.search(r"(?:Could not find|In '[^']*': Could not find) '([^']+)'", text)
    options = re.search(
        r"Available options in '([^']+)':\s*(.*?)(?:\nConfig search path|$)", text, re.S
    )
    if group and options:
        choices = ", ".join(options.group(2).split())
        name, _, choice = group.group(1).rpartition("/")
        return f"{name or options.group(1)}: there is no {choice}; choose one of {choices}"
    if isinstance(error, OverrideParseException):
        return f"cannot read the override {error.override!r}; write key=value, and quote odd values"
    return " ".join(text.split())


def _nearest_key(key: str, config: DictConfig) -> UserError:
    """`unknown_key` for a full dotted key that ``config`` does not have."""
    node: Any = OmegaConf.to_container(config, resolve=False)
    parents: list[str] = []
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            known = list(node) if isinstance(node, Mapping) else []
            return unknown_key(part, known, ".".join(parents))
        node = node[part]
        parents.append(part)
    return UserError(f"{key}: this key exists only with another choice of its group")


def on_checkpoint(
    stored: Mapping[str, Any], overrides: Sequence[str], values: Mapping[str, Any]
) -> dict[str, Any]:
    """A checkpoint's own configuration with ``overrides`` on top.

    Args:
        stored: the resolved configuration the checkpoint carries.
        overrides: ``key=value`` and ``group=choice``, in Hydra's grammar.
        values: further keys, set as they are.

    Raises:
        UserError: for an override of what the trained model fixes, naming it.
    """
    config = OmegaConf.create(completed(stored))
    OmegaConf.set_struct(config, True)
    with override_errors():
        parsed = OverridesParser.create().parse_overrides(readable(overrides))
    groups = [item for item in parsed if item.key_or_group in FREE_GROUPS]
    for override in parsed:
        key = override.key_or_group
        if key in OF_TRAINING:
            raise UserError(f"{key}: for training runs; a test starts from its checkpoint")
        if override.is_sweep_override():
            raise UserError(f"{key}: a test takes one value")
    given = {o.key_or_group: o.value() for o in parsed if o.key_or_group not in FREE_GROUPS}
    for override in groups:
        chosen = resolve(composed([str(override.input_line)]))
        key = override.key_or_group
        OmegaConf.update(config, key, chosen[key], merge=False)
    for key, value in _with_data_paths(config, {**given, **values}).items():
        if not _exists(config, key):
            raise _nearest_key(key, config)
        if _is_in(key, LOCKED_IN_A_CHECKPOINT) and not _is_in(key, FREE_IN_A_CHECKPOINT):
            raise UserError(
                f"{key}: fixed by the checkpoint; data, protocol, trainer and logger may be "
                "overridden"
            )
        OmegaConf.update(config, key, value, merge=False)
    return resolve(config)


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's configuration; what its g5 had not got yet is as it is by default."""
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
