"""Words that fit what they are said of: numbers, lengths of time, long lists, what can be shown."""

import re
from collections.abc import Sequence
from typing import Any

# What a terminal without UTF-8 gets instead.
ASCII = {"✓": "ok:", "±": "+-", "–": "-", "·": ","}
# Controls, ends of lines and paragraphs, turns of the direction of writing.
BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def counted(number: Any, thing: str, things: str | None = None) -> str:
    """``1, "call"`` -> ``1 call``; ``1200, "call"`` -> ``1,200 calls``."""
    number = int(number)  # pandas counts in numbers of its own
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def length(seconds: float) -> str:
    """``0.02`` -> ``20 ms``, ``90`` -> ``90 s``, ``600`` -> ``10 min``, ``9000`` -> ``2.5 h``."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= 2 * size or (unit == "s" and seconds >= 0.1):
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"


def on_one_line(text: str) -> str:
    """``text``, which may come from a file, with what would break or turn a line spelled out."""
    return BREAKS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable(text: str, encoding: str | None) -> str:
    """``text`` as it is, or in plain characters where the stream's encoding lacks some."""
    try:
        text.encode(encoding or "ascii")
    except UnicodeEncodeError:
        for fancy, plain in ASCII.items():
            text = text.replace(fancy, plain)
        return text.encode(encoding or "ascii", "replace").decode(encoding or "ascii")
    return text


def some(names: Sequence[object], most: int) -> str:
    """``a, b, c and 4 more``: the first few are spelled out."""
    more = len(names) - most
    shown = on_one_line(", ".join(map(str, names[:most])))
    return shown + (f" and {more:,} more" if more > 0 else "")


def tell_some(what: str, lines: Sequence[str], most: int = 5) -> None:
    """Print the first few lines, each after ``what``, and how many more there are."""
    for line in lines[:most]:
        print(on_one_line(f"{what}: {line}"))
    if len(lines) > most:
        print(f"{what}: and {len(lines) - most} more")
