"""What a `_target_` group says: a class, and the keywords of its constructor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Of what came in a file, where the user named no class.
NONE_NAMED: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Node:
    """A class by its dotted path, and the values that its constructor is to get.

    Attributes:
        target: the dotted path.
        values: keyword to plain value.
        known: None where the user wrote the node; of one that came in a file, the classes that
            the user has named on the command line. `build` refuses others that are not g5's.
    """

    target: str
    values: Mapping[str, Any]
    known: frozenset[str] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, group: Mapping[str, Any], known: frozenset[str] | None = None) -> "Node":
        """The node that a mapping with ``_target_`` means."""
        values = {key: value for key, value in group.items() if key != "_target_"}
        return cls(group["_target_"], values, known)

    def plain(self) -> dict[str, Any]:
        """The mapping, as YAML and checkpoints hold it."""
        return {"_target_": self.target, **self.values}
