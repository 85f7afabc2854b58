"""Hydra's side of the configuration: compose it, say in one line what an override got wrong."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from g5.common.errors import UserError
from g5.config.check import unknown_key
from g5.config.choices import CONF, choices
from g5.config.settings import CHOICES, Settings, TransferSettings, texts_of

# Keys of a user's own class, which may be anything.
_FREE = re.compile(r"(?:encoder|head)\.[\w.]+")
# Keys of data sets whose values are paths.
_PATH = re.compile(r"data\.(?:root|\w+_dir)")


def composed(overrides: Sequence[str], primary: str = "config") -> DictConfig:
    """The configuration with ``overrides`` applied, as ``archs/train.py`` would see it.

    Args:
        overrides: ``key=value`` and ``group=choice``, in Hydra's grammar.
        primary: the file of `conf/` that is composed, with what its defaults name.

    Raises:
        UserError: an override cannot be read, or there is no such key or choice.
    """
    return _composed(primary, tuple(overrides))


@lru_cache(maxsize=64)
def _composed(primary: str, overrides: tuple[str, ...]) -> DictConfig:
    with override_errors(primary), hydra_initialised():
        config = compose(primary, overrides=readable(overrides))
    OmegaConf.set_readonly(config, True)
    return config


def resolve(config: DictConfig, *, missing: bool = False) -> dict[str, Any]:
    """Plain containers with every interpolation resolved; ``missing`` lets ``???`` stay."""
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=not missing)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    return cast("dict[str, Any]", plain)


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
def override_errors(primary: str = "config") -> Iterator[None]:
    """Turn Hydra's errors into one line that names the key and what to do."""
    try:
        yield
    except HydraException as error:
        raise UserError(_one_line(error, primary)) from error
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def _one_line(error: HydraException, primary: str) -> str:
    text = str(error)
    bad_key = re.search(r"Could not (?:override|append to config\.) '([^']+)'", text)
    if bad_key and "already at" not in text:
        # Against the keys of every group's default; the key of `group={key: value}` is its cause's.
        full = getattr(error.__cause__, "full_key", None) or bad_key.group(1)
        return str(nearest_key(full, composed([], primary)))
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
    unfit = re.fullmatch(r"Error merging override (?:\+\+)?([^=]+)=(.*)", text, re.S)
    if unfit:  # a list and keys do not merge
        kind = "a list" if unfit.group(2).startswith("{") else "a group of keys"
        return f"{unfit.group(1)}: must be {kind}, not {unfit.group(2)}"
    return " ".join(text.split())


def nearest_key(key: str, config: DictConfig) -> UserError:
    """`unknown_key` for a full dotted key that ``config`` does not have."""
    whole: Any = OmegaConf.to_container(config, resolve=False)
    node, parents = whole, []
    for part in key.split("."):
        if not isinstance(node, Mapping):
            own = f"{key}: {'.'.join(parents)} is a value, and has no keys of its own"
            near = [one for one in _leaves(whole) if one.endswith(f".{part}")]
            return UserError(own + (f"; did you mean {near[0]}?" if near else ""))
        if part not in node:
            return unknown_key(part, list(node), ".".join(parents))
        node = node[part]
        parents.append(part)
    return UserError(f"{key}: this key exists only with another choice of its group")


def _leaves(node: Any, at: str = "") -> Iterator[str]:
    """The dotted keys below a node that have values."""
    if not isinstance(node, Mapping):
        yield at
        return
    for key, below in node.items():
        yield from _leaves(below, f"{at}.{key}" if at else str(key))


def readable(overrides: Sequence[str]) -> list[str]:
    """``overrides`` with names and paths in quotes where the grammar would not take them for text.

    It refuses umlauts, spaces before brackets, ``=`` and ``~``, and takes ``2024`` for a number;
    folders have all of these. Sweeps, interpolations, ``null`` and what is quoted stay as they are.
    """
    for key, _, value in (text.partition("=") for text in overrides):
        plain = value.strip()
        no_name = plain in ("", "null") or plain.lstrip("+-").replace(".", "").isdecimal()
        # `group={key: value}` sets keys of the group; a group of overrides has none of its own.
        no_name |= plain.startswith("[") or (plain.startswith("{") and key.strip() in CHOICES)
        if no_name and (names := choices(key.strip())):
            raise UserError(
                f"{key}={value}: a group takes one name; choose one of {', '.join(names)}, or "
                "leave it away for the default"
            )
    return [_quoted(override) for override in overrides]


def _quoted(override: str) -> str:
    key, sign, text = override.partition("=")
    name = key.lstrip("+")
    is_text = name in _text_keys() or bool(_PATH.fullmatch(name))
    if not sign or not (is_text or _FREE.fullmatch(name)):
        return override
    try:
        parsed = OverridesParser.create().parse_override(override)
        if is_text:
            plain = parsed.is_sweep_override() or isinstance(parsed.value(), str | None)
        else:
            plain = not parsed.is_sweep_override()
    except HydraException:
        plain = False
    return override if plain else f"{key}={QuotedString(text, Quote.single).with_quotes()}"


@cache
def _text_keys() -> frozenset[str]:
    """Keys whose values are texts, such as names and paths."""
    return frozenset((*texts_of(Settings), *texts_of(TransferSettings)))
