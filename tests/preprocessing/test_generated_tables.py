"""Of tables of all kinds, right and odd: read right, refused by row, or repaired and told."""

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from g5.common.errors import UserError
from g5.embeddings.importing import read_embeddings
from g5.evaluation.events.ground_truth import Truth, read_predictions
from g5.transfer.label_table import read_labels
from preprocessing.annotations import read_events
from preprocessing.events import Problem
from tests.preprocessing.table_files import IMPORTED, VECTOR, MadeTable, made_table

HOW_MANY = int(os.environ.get("G5_TABLES", "500"))
FEW = HOW_MANY if "G5_TABLES" in os.environ else 100  # where the one reader stands below others


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


def loosely(path: Path, made: MadeTable, read: Callable[[Path], pd.DataFrame]) -> str:
    """As `fault`, for readers that keep odd events, which have no box to put right."""
    path = path / made.name
    path.write_bytes(made.content)
    try:
        events = read(path)
    except UserError as error:
        known = made.unclear or not made.events or rows_told([str(error)]) & set(made.told)
        return "" if known else f"refused without need, or without the row: {error}"
    found = events[["file", "start_s", "end_s", "label"]].itertuples(index=False, name=None)
    got = Counter((*_rounded(event)[:3], event[3] or "call") for event in found)
    truth = Counter(map(_rounded, made.events))
    if made.unclear or not (truth - got or (got - truth and not made.told)):
        return ""
    return f"{list((got - truth).elements())[:3]} for {list((truth - got).elements())[:3]}"


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


def predictions(path: Path) -> pd.DataFrame:
    """What predictions say, where there is no ground truth to say it of."""
    nothing = pd.DataFrame(columns=["name", "label", "status"])
    _, problems = read_predictions(path, Truth(nothing, {}, {}))
    events, found = read_events(path, boxes=False)
    assert {problem.where for problem in found} <= {problem.where for problem in problems}
    return events


@pytest.mark.parametrize("read", [read_labels, predictions])
def test_labels_and_predictions_are_read_as_annotations_are(tmp_path: Path, read):
    for seed in range(FEW):
        made = made_table(np.random.default_rng(seed))
        wrong = loosely(tmp_path, made, read)
        assert not wrong, f"{seed}: {made.how}\n{made.content!r}\n{wrong}"


def test_embeddings_of_others_are_read_as_annotations_are(tmp_path: Path):
    def read(path: Path) -> pd.DataFrame:
        found = read_embeddings(path)
        np.testing.assert_allclose(found.x_ND, np.tile(VECTOR, (len(found.x_ND), 1)))
        return found.index

    for seed in range(FEW):
        made = made_table(np.random.default_rng(seed), IMPORTED)
        wrong = loosely(tmp_path, made, read)
        assert not wrong, f"{seed}: {made.how}\n{made.content!r}\n{wrong}"
