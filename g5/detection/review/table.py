"""The events that a detection has left in its folder, as a review asks of them."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logit

from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.common.words import counted
from g5.evaluation.events.ground_truth import CANDIDATES_CSV, PREDICTIONS, check_found, read_ledger
from g5.web.journal import Clip, Journal, clip_of
from preprocessing.annotations import read_events

REVIEWS = "reviews.jsonl"
COMMAND = "g5 review"
TABLES = {"predictions": PREDICTIONS, "candidates": CANDIDATES_CSV}
SIGNED = ".parts/signed.json"
# Scores are shares of 1 to the last bit; log-odds must stay finite.
LEAST_CHANCE = 1e-6


@dataclass(frozen=True, eq=False)
class FoundEvents:
    """What was found in some recordings.

    Attributes:
        folder: of the results.
        events: ``file, start_s, end_s, label, score``, perhaps ``low_hz, high_hz``; N rows, sorted
            by file and start.
        hours: of the recordings that were searched.
        which: of `TABLES`.
    """

    folder: Path
    events: pd.DataFrame
    hours: float
    which: str = "predictions"

    @classmethod
    def read(cls, folder: Path, which: str = "predictions") -> "FoundEvents":
        """Read the folder of a `g5 detect`; ``which`` is a key of `TABLES`.

        Raises:
            UserError: there is none, or nothing was found.
        """
        path = folder / TABLES[which]
        check_found(folder, path.name)
        events, _ = read_events(path, boxes=False)
        if "score" not in events and len(events):
            raise UserError(f"{path}: has no scores; g5 detect writes them, run it again")
        events = _own(events).reset_index(drop=True)
        files = read_ledger(folder)
        done = files.loc[files["status"] == "done", "duration_s"]
        return cls(folder, events, sum(map(float, done)) / 3600, which)

    @cached_property
    def clips(self) -> list[Clip]:
        """The events' names in the journal."""
        columns = (self.events[name] for name in ("file", "start_s", "end_s"))
        return [clip_of(*clip) for clip in zip(*columns, strict=True)]

    @cached_property
    def row_of(self) -> dict[Clip, int]:
        """Rows by their clips."""
        return {clip: row for row, clip in enumerate(self.clips)}

    def of_file(self, file: str) -> list[tuple[int, Clip]]:
        """Rows and clips of a recording."""
        return self._by_file.get(file, [])

    @cached_property
    def _by_file(self) -> dict[str, list[tuple[int, Clip]]]:
        by_file: dict[str, list[tuple[int, Clip]]] = {}
        for row, clip in enumerate(self.clips):
            by_file.setdefault(clip[0], []).append((row, clip))
        return by_file

    @cached_property
    def labels(self) -> list[str]:
        """Which species each was found as."""
        return self.events["label"].astype(str).tolist()

    @cached_property
    def logit_N(self) -> np.ndarray:
        """Log-odds of the scores."""
        score_N = self.events["score"].to_numpy(float)
        return np.asarray(logit(np.clip(score_N, LEAST_CHANCE, 1 - LEAST_CHANCE)))

    @property
    def species(self) -> list[str]:
        """Their names, sorted."""
        return sorted(set(self.labels))

    @property
    def fingerprint(self) -> str:
        """Tells this table from a changed one."""
        rows = [[*clip, label] for clip, label in zip(self.clips, self.labels, strict=True)]
        return hashlib.sha256(repr(rows).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def changed(self) -> str:
        """That somebody has changed the table since `g5 detect` wrote it, in a line; else ""."""
        try:
            signed = json.loads((self.folder / SIGNED).read_text("utf-8")).get(self.which)
        except (OSError, ValueError, AttributeError):
            return ""  # by an earlier g5, or it cannot be told
        if signed in (None, signature(self.events)):
            return ""
        return f"{self.folder / TABLES[self.which]}: has changed since g5 detect wrote it"

    def journal(self) -> Journal:
        """The answers that are about this table.

        Raises:
            UserError: there are answers, and what they are about is no longer in the table.
        """
        journal = Journal(self.folder, REVIEWS, COMMAND)
        if journal.about in ("", self.fingerprint):
            return journal
        known: set[tuple[Clip, str]] = set()
        for which in TABLES:
            if (self.folder / TABLES[which]).is_file():
                found = FoundEvents.read(self.folder, which)
                known |= set(zip(found.clips, found.labels, strict=True))
        asked = [entry for entry in journal.entries.values() if entry.of]
        gone = [entry for entry in asked if (entry.clip, entry.of) not in known]
        if gone:
            raise UserError(
                f"{self.folder}: the events have changed since they were reviewed: {len(gone)} of "
                f"{counted(len(asked), 'answered one')} no longer there. The answers are safe in "
                f"{REVIEWS}, and g5 detect --support {self.folder} -o ANOTHER learns from them; "
                f"to review the events of now, move {REVIEWS} away"
            )
        return journal


def _own(events: pd.DataFrame) -> pd.DataFrame:
    """Without what the user has marked herself."""
    if "support" not in events:
        return events
    return events.loc[events["support"].astype(str) != "True"]


def signature(events: pd.DataFrame) -> str:
    """Tells events from changed ones, in whatever order and whoever wrote them."""
    columns = (_own(events)[name] for name in ("file", "start_s", "end_s", "label"))
    rows = sorted((clip_of(*clip), str(label)) for *clip, label in zip(*columns, strict=True))
    return hashlib.sha256(repr(rows).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def sign(folder: Path, **tables: pd.DataFrame) -> None:
    """Remember what a detection has written, by keys of `TABLES`."""
    signs = {which: signature(events) for which, events in tables.items()}
    with atomic_path(folder / SIGNED) as temporary:
        temporary.write_text(json.dumps(signs), encoding="utf-8")


def in_time(events: pd.DataFrame, rows: Iterable[int]) -> list[int]:
    """Rows by recording and time in it; names of recordings mostly begin with their date."""
    files, starts = events["file"].astype(str).to_numpy(), events["start_s"].to_numpy(float)
    return sorted(rows, key=lambda row: (Path(files[row]).name, files[row], starts[row]))
