"""Numbers as people and their spreadsheets write them: which sign of a table is the decimal one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Digits in groups of three, with blanks or apostrophes between them, as in 1 234,5 and 1'234.5.
_GROUPED = re.compile(r"^([+-]?\d{1,3})((?:[\s'\u2019]\d{3})+)(?![\d])")
_PLAIN = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:([.,])\d{3})(?:\1\d{3})*")
_OTHER = {",": ".", ".": ","}
_CLOCK = re.compile(r"(?:(\d+):(?=[0-5]?\d:))?(\d+):([0-5]?\d(?:[.,]\d*)?)")
NAN = float("nan")


@dataclass(frozen=True)
class Decimals:
    """How a table writes numbers.

    Attributes:
        sign: what parts the whole from the rest; "": both signs do, each cell by itself.
        note: what the user should know of it, "" if nothing.
    """

    sign: str
    note: str = ""

    def number(self, cell: str) -> float:
        """The number that a cell holds, to the last bit; NaN if it holds none."""
        cell = _ungrouped(cell)
        if "," not in cell and not (self.sign != "." and "." in cell):
            return as_float(cell)
        sign = self.sign or _evidence(cell)
        if not sign:
            return NAN  # 1,234 may be either, where the table's others are of both kinds
        other = _OTHER[sign]
        whole, _, rest = cell.partition(sign)
        if other in rest or (other in whole and not _is_grouped(whole, other)):
            return NAN
        return as_float(f"{whole.replace(other, '')}.{rest}" if _ else whole.replace(other, ""))


def settled(cells: Iterable[str], separator: str) -> Decimals:
    """The decimal sign of a table, from all of its numbers.

    ``0,5``, ``12,34`` and ``1.234,5`` can be read in one way alone, ``1,234`` in two: it follows
    the others. Where all may be read in two ways, a comma is the decimal sign in a table whose
    columns it does not part, unless all are in thousands of some size.
    """
    texts = {_ungrouped(cell) for cell in cells}
    signed = [text for text in texts if "," in text or "." in text]
    if not any("," in text for text in signed):
        # Points alone: 1.234 is what a computer writes; only 1.234.567 says otherwise.
        grouped = any(text.count(".") > 1 and _is_grouped(text, ".") for text in signed)
        if not grouped or any(_evidence(text) == "." for text in signed):
            return Decimals(".")
        return Decimals(",", "points part thousands (as in 1.234.567)")
    evidence = {sign for text in signed if (sign := _evidence(text))}
    if len(evidence) == 1:
        return Decimals(*evidence)
    unclear = sorted(text for text in signed if not _evidence(text) and _THOUSANDS.fullmatch(text))
    if evidence:
        note = "has numbers with a decimal comma and others with a point; each is read as written"
        return Decimals("", note)
    if not unclear:
        return Decimals(".")
    if any("." in text for text in unclear):
        comma, point = (next(text for text in unclear if sign in text) for sign in ",.")
        return Decimals(
            "." if separator == "," else "",
            f"nothing tells which of {comma} and {point} is in thousands",
        )
    sign = "." if separator == "," else ","
    meant = Decimals(sign).number(unclear[0])
    if sign == "," and any(re.fullmatch(r"\d{4,}", text) for text in texts):
        return Decimals(sign)  # thousands are not grouped here
    return Decimals(sign, f"{unclear[0]} is read as {meant:g}; nothing in the table tells")


def clock_seconds(cell: str) -> float:
    """The seconds of ``h:mm:ss`` or ``m:ss``, with whatever decimals; NaN if it is neither."""
    found = _CLOCK.fullmatch(cell)
    if not found:
        return NAN
    hours, minutes, seconds = found.groups(default="0")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds.replace(",", "."))


def as_float(cell: str) -> float:
    """The number that a cell holds, to the last bit; NaN if it holds none."""
    try:
        return NAN if "_" in cell else float(cell)
    except ValueError:
        return NAN


def _ungrouped(cell: str) -> str:
    found = _GROUPED.match(cell)
    return cell if not found else re.sub(r"[\s'\u2019]", "", found[0]) + cell[found.end() :]


def _is_grouped(whole: str, sign: str) -> bool:
    found = _THOUSANDS.fullmatch(whole)
    return bool(found) and found[1] == sign


def _evidence(text: str) -> str:
    """The decimal sign that a number can have alone; "" if it says nothing, or is no number."""
    if "," in text and "." in text:
        sign = max(",.", key=text.rfind)
        return sign if text.count(sign) == 1 and _is_grouped(
            text[: text.rfind(sign)], _OTHER[sign]) else ""  # fmt: skip
    sign = "," if "," in text else "."
    if text.count(sign) > 1:
        return _OTHER[sign] if _is_grouped(text, sign) else ""
    if not _PLAIN.fullmatch(text):
        return ""
    whole, _, rest = text.lstrip("+-").partition(sign)
    sure = len(rest) != 3 or len(whole) > 3 or not whole or whole.startswith("0")
    return sign if sure else ""
