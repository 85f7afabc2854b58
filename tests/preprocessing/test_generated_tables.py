"""Of tables of all kinds, right and odd: read right, refused by row, or repaired and told."""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from g5.common.errors import UserError
from preprocessing.annotations import read_events
from preprocessing.events import Problem
from tests.preprocessing.table_files import MadeTable, made_table

HOW_MANY = int(os.environ.get("G5_TABLES", "500"))


def rows_told(texts: list[str]) -> set[int]:
    told = [found[1] for text in texts for found in re.finditer(r"rows? ([\d, ]+)", text)]
    return {int(number) for numbers in told for number in re.findall(r"\d+", numbers)}


def fault(path: Path, made: MadeTable) -> str:
    """What is wrong with how a table is read; "" if nothing."""
    path = path / made.name
    path.write_bytes(made.content)
    try:
        events, problems = read_events(path)
    except UserError as error:
        named = rows_told([str(error)]) & set(made.told)
        return "" if named else f"refused without need, or without the row: {error}"
    texts = [str(problem) for problem in problems]
    missing = set(made.told) - rows_told(texts)
    # What holds of all that is left is told of the table.
    whole = len(made.events) == 1 and any("names no class; it is called" in text for text in texts)
    if missing and not whole:
        return f"rows {missing} are not told: {texts}"
    found = events[["file", "start_s", "end_s", "label"]].itertuples(index=False, name=None)
    got, truth = Counter(map(_rounded, found)), Counter(map(_rounded, made.events))
    if got == truth:
        return _needless(made, problems)
    if any(problem.kind == "decimal-sign" for problem in problems):
        return "" if made.unclear else f"decimal sign: {texts}"
    return f"{list((got - truth).elements())[:3]} for {list((truth - got).elements())[:3]}; {texts}"


def _rounded(event: tuple) -> tuple:
    return event[0], round(event[1], 6), round(event[2], 6), event[3]


def _needless(made: MadeTable, problems: list[Problem]) -> str:
    """A whole table is not complained of."""
    known = {"label", "decimal-sign"} if made.unclear else {"label"}
    odd = [problem for problem in problems if problem.kind not in known]
    return f"told without need: {odd}" if odd and not made.told else ""


def test_tables_of_all_kinds_are_read_right_or_told(tmp_path: Path):
    for seed in range(HOW_MANY):
        made = made_table(np.random.default_rng(seed))
        wrong = fault(tmp_path, made)
        assert not wrong, f"{seed}: {made.how}\n{made.content!r}\n{wrong}"
