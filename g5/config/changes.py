"""Which keys differ between two configurations, among those that decide what a run or a test is."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from g5.config.build import indifferent_keywords
from g5.config.node import Node
from g5.config.settings import Settings

MAX_PARAM_LENGTH = 6000  # characters, says MLflow


def deciding(
    settings: Settings, of: Literal["run", "test"], *, length: bool = False
) -> dict[str, Any]:
    """The values that decide what a run or a test is, by dotted key (marks of `config.schema`).

    Args:
        settings: of the run or test.
        of: which of the two.
        length: how long a run is, too, and where its first weights came from.
    """
    found: dict[str, Any] = {}

    def walk(group: Any, where: str, decides: bool) -> None:
        for member in dataclasses.fields(group):
            marks, value = member.metadata, getattr(group, member.name)
            if marks.get("indifferent") or (marks.get("extends") and not length):
                continue
            at = f"{where}.{member.name}" if where else member.name
            decides_too = decides or of in marks.get("decides", ())
            if isinstance(value, Node) and decides_too:
                found.update(_of_node(value, where if marks.get("spread") else at))
            elif dataclasses.is_dataclass(value) and not isinstance(value, Node):
                walk(value, at, decides_too)
            elif decides_too:
                found[at] = value

    walk(settings, "", False)
    return found


def short_hash(facts: Any) -> str:
    """Eight hex digits that name what these plain values decide."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def _of_node(node: Node, where: str) -> Mapping[str, Any]:
    passed = indifferent_keywords(node)
    return {f"{where}.{key}": value for key, value in node.plain().items() if key not in passed}


def differences(theirs: Settings, ours: Settings, of: Literal["run", "test"]) -> list[str]:
    """Dotted keys, of those that decide what a run or a test is, whose values differ."""
    one, other = deciding(theirs, of), deciding(ours, of)
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """A configuration as MLflow's params: dotted keys, values as YAML has them.

    Values beyond MLflow's limit end in ``...``; the artifact `config.yaml` has all of them.
    """

    def leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, Mapping) and node:
            for name, child in node.items():
                yield from leaves(child, f"{key}.{name}" if key else str(name))
        else:
            yield key, node

    shown = {}
    for key, value in leaves(config, ""):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        short = len(text) <= MAX_PARAM_LENGTH
        shown[key] = text if short else text[: MAX_PARAM_LENGTH - 3] + "..."
    return shown
