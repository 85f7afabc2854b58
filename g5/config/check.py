"""Does a value fit what is declared for it? Types, ranges and unknown keys, with suggestions."""

import difflib
import math
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from g5.common.errors import UserError

# How complaints of `Range` begin.
OF_A_BOUND = ("must be above", "must be at ", "must be below", "must be a finite")


@dataclass(frozen=True)
class Range:
    """Bounds of a number, for use in ``Annotated``; ``above`` and ``below`` are exclusive."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def complaint(self, value: float) -> str | None:
        """What is wrong with ``value``, or None. NaN fits no range."""
        if self.above is not None and not value > self.above:
            return f"must be above {self.above:g}"
        if self.at_least is not None and not value >= self.at_least:
            return f"must be at least {self.at_least:g}"
        if self.at_most is not None and not value <= self.at_most:
            return f"must be at most {self.at_most:g}"
        if self.below is not None and not value < self.below:
            return f"must be below {self.below:g}"
        return None


Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(at_least=0)]
# Seconds that sound is cut into: of shorter pieces there would be billions.
Piece = Annotated[float, Range(at_least=0.001)]
Share = Annotated[float, Range(at_least=0, at_most=1)]
Between = Annotated[float, Range(above=0, below=1)]
BelowOne = Annotated[float, Range(at_least=0, below=1)]
Count = Annotated[int, Range(at_least=1)]
Seed = Annotated[int, Range(at_least=0, at_most=2**32 - 1)]  # what NumPy takes


def unknown_key(key: str, known: Collection[str], where: str = "") -> UserError:
    """The error for a key that does not exist, with the nearest that does."""
    full = _dotted(where, key)
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    if near:
        return UserError(f"{full}: there is no such key; did you mean {_dotted(where, near[0])}?")
    return UserError(
        f"{full}: there is no such key; {where or 'the top level'} has: {_listed(known)}"
    )


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def check_keys(given: Collection[str], known: Collection[str], where: str) -> None:
    """Raise `UserError` unless ``given`` and ``known`` hold the same keys."""
    for key in given:
        if key not in known:
            raise unknown_key(key, known, where)
    for key in known:
        if key not in given:
            raise UserError(f"{_dotted(where, key)}: missing; the YAML of this group must set it")


def check_value(value: Any, hint: Any, where: str) -> None:
    """Raise `UserError` naming the key ``where`` unless ``value`` fits the type ``hint``."""
    complaint = _complaint(value, hint)
    if complaint:
        raise UserError(f"{where}: {complaint}, not {value!r}")


def _complaint(value: Any, hint: Any) -> str | None:
    origin = get_origin(hint)
    if hint is Any:
        return None
    if origin is Annotated:
        base, *bounds = get_args(hint)
        complaint = _complaint(value, base)
        for bound in bounds:
            complaint = complaint or (isinstance(bound, Range) and bound.complaint(value)) or None
        return complaint
    if origin is Literal:
        return None if value in get_args(hint) else f"must be one of {_listed(get_args(hint))}"
    if origin in (typing.Union, types.UnionType):
        complaints = [_complaint(value, option) for option in get_args(hint)]
        if None in complaints:
            return None
        # The most telling complaint is about a bound, not about a type.
        bounds = [text for text in complaints if text and text.startswith(OF_A_BOUND)]
        return bounds[0] if bounds else f"must be {_name(hint)}"
    if origin in (list, tuple) or hint in (list, tuple):
        return _sequence_complaint(value, hint)
    if hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if fits and math.isinf(value):
            return "must be a finite number"
    elif hint is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif hint is type(None):
        fits = value is None
    elif origin is not None or not isinstance(hint, type):
        fits = isinstance(value, origin) if isinstance(origin, type) else True
    else:
        fits = isinstance(value, hint)
    return None if fits else f"must be {_name(hint)}"


def _sequence_complaint(value: Any, hint: Any) -> str | None:
    if not isinstance(value, list | tuple):
        return f"must be {_name(hint)}"
    options = [option for option in get_args(hint) if option is not Ellipsis]
    if get_origin(hint) is tuple and Ellipsis not in get_args(hint) and len(value) != len(options):
        return f"must be a list of {len(options)}"
    for index, item in enumerate(value):
        inner = options[min(index, len(options) - 1)] if options else Any
        if _complaint(item, inner):
            return f"must be {_name(hint)}"
    return None


def _name(hint: Any) -> str:
    """A type as a user would say it."""
    origin = get_origin(hint)
    plain = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if hint in plain:
        return plain[hint]
    if hint is type(None):
        return "null"
    if origin is Annotated:
        return _name(get_args(hint)[0])
    if origin is Literal:
        return f"one of {_listed(get_args(hint))}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_name(option) for option in get_args(hint))
    if origin in (list, tuple):
        inner = [option for option in get_args(hint) if option is not Ellipsis]
        return f"a list, each {_name(inner[0])}" if inner else "a list"
    return getattr(hint, "__name__", str(hint))


def _listed(options: Collection[Any]) -> str:
    return ", ".join(str(option) for option in options)


def check_mapping(node: Any, hints: Mapping[str, Any], where: str) -> None:
    """Check every key of a mapping against ``hints`` (name to type)."""
    if not isinstance(node, Mapping):
        raise UserError(f"{where}: must be a group of keys, not {node!r}")
    check_keys(list(node), list(hints), where)
    for key, hint in hints.items():
        check_value(node[key], hint, _dotted(where, key))
