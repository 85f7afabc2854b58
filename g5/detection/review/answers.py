"""Answers as events: yes is POS, no NEG, unsure UNK; what `g5 detect --support` learns from.

The mailed page saves an events table, too, which says of each row what it was found as.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.words import counted
from g5.detection.review.table import COMMAND, REVIEWS, FoundEvents
from g5.evaluation.events.ground_truth import PREDICTIONS, SUPPORT_CSV
from g5.web.journal import LABEL, STATUS, Journal, JournalEntry, clip_of
from preprocessing.annotations import read_events, write_events
from preprocessing.events import EVENT_COLUMNS

REVIEWED = "reviewed.csv"
# Of the table that the mailed page saves.
FOUND = ("found_label", "found_start_s", "found_end_s", "shown_by", "answer", "seconds")
COLUMNS = (*EVENT_COLUMNS, *FOUND)
ANEW = "has the table changed since? As a support, g5 detect reads the file nevertheless"
KIND = {status: kind for kind, status in STATUS.items()}


def answered(journal: Journal) -> pd.DataFrame:
    """An events table of the answers: times as put right, NEG and UNK with what it was found as."""
    rows = [
        (e.clip[0], *(e.ends or e.clip[1:]), e.label or e.of, STATUS[e.kind])
        for e in journal.entries.values()
    ]
    table = pd.DataFrame(rows, columns=list(EVENT_COLUMNS))
    return table.sort_values(["file", "start_s"], ignore_index=True)


def write_answers(journal: Journal, folder: Path) -> Path:
    """Write `reviewed.csv`, whole or not at all."""
    return write_events(answered(journal), folder / REVIEWED, "csv")


def is_found(folder: Path) -> bool:
    """Whether this is the folder of a detection, which may be the support of another."""
    return (folder / SUPPORT_CSV).is_file() and (folder / PREDICTIONS).is_file()


def files_of(folder: Path) -> list[Path]:
    """What of such a folder a support is made of."""
    return [path for name in (SUPPORT_CSV, REVIEWS) if (path := folder / name).is_file()]


def learned_support(folder: Path) -> tuple[pd.DataFrame, str]:
    """The support of a detection and the answers to what it found, as an events table.

    Yes is POS, no NEG, and what was marked POS. What was called something that the support does not
    mark is no call of its species: NEG under that name.

    Returns:
        The table, and in a line what it is made of.
    """
    shots, _ = read_events(folder / SUPPORT_CSV, boxes=False)
    said = answered(Journal(folder, REVIEWS, COMMAND))
    sought = set(shots.loc[shots["status"] == "POS", "label"])
    other = (said["status"] == "POS") & ~said["label"].isin(list(sought))
    said["status"] = said["status"].where(~other, "NEG")
    yes, no = ((said["status"] == status).sum() for status in ("POS", "NEG"))
    table = pd.concat([shots.drop(columns="row", errors="ignore"), said], ignore_index=True)
    # A shot that was found, and said yes to, is one shot.
    table = table.drop_duplicates(["file", "start_s", "end_s", "label"], ignore_index=True)
    line = (
        f"support    {counted(len(shots), 'mark')} of {folder / SUPPORT_CSV}; "
        f"{counted(yes, 'call')} and {no} "
        f"of no call, from {counted(len(said), 'answer')}"
    )
    return table.sort_values(["file", "start_s"], kind="stable", ignore_index=True), line


def changes(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Events gained and lost by species, in a line each; an event stays where one overlaps it."""
    lines = []
    for label in sorted({*before["label"], *after["label"]}):
        old, new = (table.loc[table["label"] == label] for table in (before, after))
        gained, lost = len(new) - _met(new, old), len(old) - _met(old, new)
        lines.append(
            f"changed    {label}: {counted(len(old), 'event')} before, {len(new):,} now; "
            f"{gained:,} gained, "
            f"{lost:,} lost"
        )
    return "\n".join(lines)


def _met(events: pd.DataFrame, others: pd.DataFrame) -> int:
    """How many events overlap one of the others."""
    count = 0
    for file, own in events.groupby("file"):
        there = others.loc[others["file"] == file].sort_values("start_s")
        start, end = (there[name].to_numpy(float) for name in ("start_s", "end_s"))
        last = np.maximum.accumulate(end) if len(end) else end
        before = np.searchsorted(start, own["end_s"].to_numpy(float), side="left")
        reached = np.where(before > 0, last[np.maximum(before - 1, 0)] if len(last) else -1.0, -1.0)
        count += int((reached > own["start_s"].to_numpy(float)).sum())
    return count


def short_names(files: Iterable[str]) -> dict[str, str]:
    """Recordings' paths below the folder that all are in, by path."""
    known = sorted(set(map(str, files)))
    root = os.path.commonpath([Path(file).parent for file in known]) if known else ""
    return {file: Path(file).relative_to(root).as_posix() for file in known}


def take_answers(found: FoundEvents, journal: Journal, path: Path) -> str:
    """Enter the answers that a mailed page has saved; what was done, in a line.

    Answers that are there already count once; where somebody has said something of an event
    before, that stays. Those to events that are not in the table any more are left out, and told.

    Raises:
        UserError: it is no such table, or all of it is of other events.
    """
    table, _ = read_events(path, boxes=False)
    if missing := [name for name in FOUND if name not in table]:
        raise UserError(
            f"{path}: has no column {missing[0]}; give what the page of g5 review --page has saved"
        )
    entries, gone = [], ""
    for row in table.to_dict("records"):
        try:
            entries.append(_entry(found, row))
        except UserError as error:
            gone = gone or str(error)
    if gone and not entries:
        raise UserError(f"{path}: {gone}; {ANEW}")
    journal.begin(found.fingerprint)
    before = [journal.add(entry) for entry in entries]
    write_answers(journal, found.folder)
    kept = sum(entry is not None for entry in before)
    other = f"; {counted(kept, 'event')} had another answer before, which stays" if kept else ""
    lost = len(table) - len(entries)
    more = f"; {lost} left out ({gone}; {ANEW})" if lost else ""
    return f"{counted(len(entries) - kept, 'answer')} of {path}{other}{more}"


def _entry(found: FoundEvents, row: dict) -> JournalEntry:
    of, kind = str(row["found_label"]), KIND[str(row["status"])]
    own = {name: file for file, name in short_names(found.events["file"]).items()}
    file = own.get(str(row["file"]), "")
    clip = ends = clip_of(file, row["start_s"], row["end_s"])
    if of:
        clip = clip_of(file, float(row["found_start_s"]), float(row["found_end_s"]))
    known = found.row_of.get(clip) if of else None
    if not file or (of and (known is None or found.labels[known] != of)):
        raise UserError(
            f"row {row['row']} answers for {of or 'a call'} at {clip[1]:.3f} s of "
            f"{row['file']}, which is not among the events of {found.folder}"
        )
    label = str(row["label"]) if kind == LABEL else ""
    moved = ends[1:] if ends != clip else None
    seconds, by = float(row["seconds"]), str(row["shown_by"])
    return JournalEntry(str(row["answer"]), clip, kind, label, seconds, of, by, moved)
