"""Answers from the tabs of a browser: checked, written down, and taken back by whom they are of."""

import math
from collections.abc import Container

from g5.common.errors import UserError
from g5.web.journal import KINDS, LABEL, NOT_A_CALL, UNSURE, Clip, Journal, JournalEntry

LONGEST_NAME = 80
LONGEST_S = 3600.0  # who looks longer is away


def class_name(text: object) -> str:
    """A class or species as it is kept: without blanks that nobody sees.

    Raises:
        UserError: it is empty, too long, or says what is no class.
    """
    name = " ".join(str(text).split())
    if not name or len(name) > LONGEST_NAME or name in (UNSURE, NOT_A_CALL):
        raise UserError(f"{name[:LONGEST_NAME]!r} is no name for a class")
    return name


def checked_entry(id: str, clip: Clip, kind: str, label: str, seconds: float) -> JournalEntry:
    """What a page says of a clip.

    Raises:
        UserError: no such kind, no name, no id, or no time that anybody takes.
    """
    if kind not in KINDS:
        raise UserError(f"{kind!r} is none of {', '.join(KINDS)}")
    if not id or len(id) > LONGEST_NAME:
        raise UserError("an answer needs an id")
    if not math.isfinite(seconds):
        raise UserError(f"seconds={seconds}: must be a finite number")
    label = class_name(label) if kind == LABEL else ""
    return JournalEntry(id, clip, kind, label, float(min(max(seconds, 0.0), LONGEST_S)))


class TabAnswers:
    """Which tab has said what, in the order it was said; a session calls it under its lock."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._said: dict[str, list[Clip]] = {}

    def add(self, tab: str, entry: JournalEntry) -> str:
        """Write an answer down. "" or what stands in the way; it is on the disk when this returns.

        Raises:
            UserError: it cannot be written.
        """
        before = self.journal.add(entry)
        if before is not None:
            said = before.label or before.kind
            return f"This was answered in another tab as “{said}”; that was kept."
        mine = self._said.setdefault(tab, [])
        if entry.clip not in mine[-1:]:
            mine.append(entry.clip)
        return ""

    def undo(self, tab: str, among: Container[Clip] | None = None) -> Clip | None:
        """Take back this tab's last answer; its clip, or None: there is none.

        After a reload or a restart, the last answer ``among`` these that is no other tab's.
        """
        entries, mine = self.journal.entries, self._said.get(tab, [])
        while mine and mine[-1] not in entries:
            mine.pop()
        if mine:
            clip = mine.pop()
        else:
            others = {clip for clips in self._said.values() for clip in clips}
            left = [c for c in entries if c not in others and (among is None or c in among)]
            if not left:
                return None
            clip = left[-1]
        self.journal.undo(clip)
        return clip
