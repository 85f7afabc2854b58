"""CSV files that a spreadsheet opens as text: what it would take for a formula gets an apostrophe.

Reading takes it away again, so that any text comes back as it was.
"""

import os
import re
from typing import TYPE_CHECKING, Any

from g5.common.atomic import atomic_path

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"(?![+-]?[\d.]+(?:[eE][+-]?\d+)?$)'*[=+\-@]")  # and is no number
_GUARDED = re.compile(r"'+[=+\-@]")


def guarded(text: str) -> str:
    """``text`` as a cell: with one more apostrophe where it could begin a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text of a cell, which `guarded` wrote."""
    return cell[1:] if _GUARDED.match(cell) else cell


def write_csv(
    table: "pd.DataFrame", path: str | os.PathLike[str], *, float_format: str | None = None
) -> None:
    """Write a table with its texts `guarded`, whole or not at all."""
    safe = table.rename(columns=_text)
    for place, kind in enumerate(table.dtypes):
        if kind.kind not in "biufM":
            safe.isetitem(place, table.iloc[:, place].astype(object).map(_text))
    with atomic_path(path) as temporary:
        safe.to_csv(temporary, index=False, float_format=float_format)


def _text(value: Any) -> Any:
    return guarded(value) if isinstance(value, str) else value
