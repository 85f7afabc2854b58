"""A stretch of a recording as people type it: ``FILE`` or ``FILE:START-END``, seconds."""

import re
from dataclasses import dataclass
from pathlib import Path

from g5.common.errors import UserError

TYPED = re.compile(r"^(?P<file>.*):(?P<start>\d+(\.\d+)?)-(?P<end>\d+(\.\d+)?)$")


@dataclass(frozen=True)
class Stretch:
    """From ``start_s`` to ``end_s`` (None: the end) of a recording; ``text`` is what was typed."""

    text: str
    file: str
    start_s: float = 0.0
    end_s: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Stretch":
        """Read ``FILE`` or ``FILE:START-END``; a file that is called so is one.

        Raises:
            UserError: it ends at or before its start.
        """
        found = TYPED.match(text)
        if not found or Path(text).exists():
            return cls(text, text)
        one = cls(text, found["file"], float(found["start"]), float(found["end"]))
        if one.end_s is not None and one.end_s <= one.start_s:
            raise UserError(f"{text}: the stretch ends at or before its start")
        return one
