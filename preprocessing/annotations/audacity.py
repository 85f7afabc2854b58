"""Reader of Audacity label tracks: ``start TAB end TAB label``, and rows with the band of one."""

from pathlib import Path

import numpy as np

from preprocessing.annotations.numbers import settled
from preprocessing.annotations.table import Reading, Rows, Table, band, chosen, lines_of
from preprocessing.events import Problem

_COLUMNS = ("start", "end", "label", "low_hz", "high_hz", "score")


def is_audacity(line: str) -> bool:
    """Whether the first line of a file is one of a label track."""
    start, tab, rest = line.partition("\t")
    if not tab:
        return False
    if start.strip() == "\\":
        return True
    return all(np.isfinite(_number(text)) for text in (start, rest.split("\t")[0]))


def audacity_table(path: Path, text: str) -> Table:
    """The rows of a label track; an empty file is a track without labels.

    A row that begins with a backslash holds the band of the label above it.
    """
    lines: list[list[str]] = []
    numbers: list[int] = []
    loose: list[int] = []
    for number, line in enumerate(lines_of(text), start=1):
        fields = line.split("\t")
        if not line.strip():
            continue
        if fields[0].strip() == "\\":
            if not lines:
                loose.append(number)
            else:
                lines[-1][3:5] = [*fields[1:3], "", ""][:2]
            continue
        # A label may hold a tab; BirdNET writes its confidence behind one.
        score = fields.pop() if len(fields) == 4 and 0 <= _number(fields[3]) <= 1 else ""
        lines.append([*[*fields, "", ""][:2], " ".join(fields[2:]), "", "", score])
        numbers.append(number)
    if not all(line[-1] for line in lines):  # then it is part of a label
        for line in lines:
            line[2], line[-1] = f"{line[2]} {line[-1]}".strip(), ""
    cells = list(zip(*lines, strict=True)) or [()] * len(_COLUMNS)
    table = Table(
        path=path,
        names=list(_COLUMNS),
        separator="\t",
        columns=dict(zip(_COLUMNS, cells, strict=True)),
        rows=np.array(numbers, dtype=np.int64),
        good=np.ones(len(lines), dtype=bool),
    )
    if loose:
        message = "is the band of no label; it is passed over"
        table.problems.append(Problem("bad-row", f"{path}, row {loose[0]}", message, False))
    if lines and all(_has_more_numbers(line[2]) for line in lines):
        message = "numbers behind the end are part of its labels; where they are none, give the "
        message += "table a first row of names, and --columns says which is which"
        table.problems.append(Problem("label", str(path), message, False))
    return table


def _has_more_numbers(label: str) -> bool:
    """Whether there are two before a text, as where a program writes a band there."""
    words = label.split(" ")
    return len(words) > 2 and all(np.isfinite(_number(word)) for word in words[:2])


def audacity_rows(table: Table, _: Reading) -> Rows:
    """The labels; ``audio`` is "": a track belongs to the recording it is named after."""
    size = len(table.rows)
    rows = {
        "audio": np.full(size, "", dtype=object),
        "start_s": table.seconds("start"),
        "end_s": table.seconds("end"),
        "label": table.repeated("label"),
        "status": np.full(size, "POS", dtype=object),
        "row": table.rows,
        **band(table, "low_hz", "high_hz"),
    }
    if any(table.columns["score"]):
        rows["score"] = table.numbers("score")
    if np.isnan(rows["low_hz"]).all():
        del rows["low_hz"], rows["high_hz"]
    return chosen(rows, table.good)


def _number(text: str) -> float:
    return settled([text.strip()], "\t").number(text.strip())
