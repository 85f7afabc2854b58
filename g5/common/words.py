"""Long lists in few words."""

from collections.abc import Sequence


def some(names: Sequence[object], most: int) -> str:
    """``a, b, c and 4 more``: the first few are spelled out."""
    more = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {more:,} more" if more > 0 else "")


def tell_some(what: str, lines: Sequence[str], most: int = 5) -> None:
    """Print the first few lines, each after ``what``, and how many more there are."""
    for line in lines[:most]:
        print(f"{what}: {line}")
    if len(lines) > most:
        print(f"{what}: and {len(lines) - most} more")
