"""A review session: which event is next, what is said of it, and what the answers amount to.

Knows nothing of browsers. Shapes: N events of a species.
"""

import math
import threading
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from g5.common.errors import UserError
from g5.config.schema import ReviewSettings
from g5.detection.review.answers import write_answers
from g5.detection.review.calibration import ScoreCurve
from g5.detection.review.estimate import (
    NO,
    UNANSWERED,
    YES,
    Draws,
    Precision,
    Sample,
    chances,
    precision,
    spread_ranks,
    strata_of,
)
from g5.detection.review.table import FoundEvents, in_time
from g5.web.answers import TabAnswers, checked_entry
from g5.web.journal import LABEL, UNSURE, JournalEntry, clip_of
from preprocessing.audio_rules import READ_ALL, AudioRules

SAMPLE, UNCERTAIN, SCORE, MARK = "sample", "uncertain", "score", "mark"
ORDERS = (SAMPLE, UNCERTAIN, SCORE)


class ReviewSession:
    """Hands out events and takes answers, from any number of threads.

    Args:
        found: the events.
        settings: how.
        rules: how recordings are read.

    Raises:
        UserError: nothing was found, or the events have changed since they were reviewed.
    """

    def __init__(
        self, found: FoundEvents, settings: ReviewSettings, rules: AudioRules = READ_ALL
    ) -> None:
        if not len(found.events):
            raise UserError(f"{found.folder}: nothing was found, there is nothing to review")
        self.found, self.settings, self.rules = found, settings, rules
        self.journal = found.journal()
        labels = np.array(found.labels)
        self.rows = {
            name: np.array(in_time(found.events, np.flatnonzero(labels == name).tolist()))
            for name in found.species
        }
        self._ranks = {name: self._rank(name) for name in self.rows}
        self._lock = threading.RLock()
        self._shown: dict[str, tuple[int, ...]] = {}  # tab -> the event, and the one after it
        self._asked: dict[str, tuple[str, str]] = {}  # tab -> order and species of these
        self._answers = TabAnswers(self.journal)
        self._precision: dict[str, tuple[int, Precision]] = {}

    def _rank(self, species: str) -> np.ndarray:
        stratum_N = strata_of(self.found.logit_N[self.rows[species]])
        return spread_ranks(stratum_N, zlib.crc32(species.encode()) + self.settings.seed)

    @property
    def names(self) -> list[str]:
        """Species, and what else events were called."""
        said = [e.label for e in self.journal.entries.values() if e.kind == LABEL]
        return list(dict.fromkeys([*self.rows, *said]))

    # --- which event is next --------------------------------------------------------------------

    def next(self, tab: str, order: str, species: str) -> tuple[int, ...]:
        """Row of the event that a tab shows next, and the one that will follow; () at the end.

        It stays the same until it is answered. Two tabs never get the same event.

        Raises:
            UserError: no such order or species.
        """
        if order not in ORDERS:
            raise UserError(f"{order!r} is none of {', '.join(ORDERS)}")
        if species and species not in self.rows:
            raise UserError(f"there is no species {species!r}")
        with self._lock:
            same = self._asked.get(tab) == (order, species)
            others = {r for other, rows in self._shown.items() if other != tab for r in rows}
            kept = [r for r in self._shown.get(tab, ()) if same and not self._answered(r)]
            picks = kept + self._choose(order, species, {*others, *kept}, 2 - len(kept))
            self._shown[tab], self._asked[tab] = tuple(picks), (order, species)
            return tuple(picks)

    def begin(self) -> None:
        """Bring `reviewed.csv` to what was answered: a kill may have come between the two."""
        if self.journal.entries:
            write_answers(self.journal, self.found.folder)

    def drawn(self, count: int, order: str) -> list[int]:
        """So many events that are not answered, in an order."""
        return self._choose(order, "", (), count)

    def _choose(self, order: str, species: str, taken: Collection[int], count: int) -> list[int]:
        names = [species] if species else list(self.rows)
        if order == SAMPLE:
            return self._sampled(names, taken, count)
        rows, worth = [], []
        for name in names:
            left = [r for r in self.rows[name].tolist() if r not in taken and not self._answered(r)]
            logit_L = self.found.logit_N[left]
            if order == UNCERTAIN:
                sample, _ = self.sample(name)
                said = sample.said_N != UNANSWERED
                known = np.concatenate([sample.logit_N[said], logit_L])
                answers = np.concatenate([sample.said_N[said], np.full(len(left), UNANSWERED)])
                logit_L = -np.abs(chances(known, answers)[int(said.sum()) :] - 0.5)
            rows += left
            worth.append(logit_L)
        if not rows:
            return []
        best = np.argsort(-np.concatenate(worth), kind="stable")[:count]
        return [rows[i] for i in best]

    def _sampled(self, names: list[str], taken: Collection[int], count: int) -> list[int]:
        draws = []
        for name in names:
            sample, kept = self.sample(name)
            rows = self.rows[name][kept]
            if len(rows):
                held = [i for i, row in enumerate(rows.tolist()) if row in taken]
                draws.append((Draws(sample, self._ranks[name][kept], held), rows))
        picks: list[int] = []
        while draws and len(picks) < count:
            best, rows = max(draws, key=lambda one: one[0].gain())
            if best.gain() <= 0:
                break
            picks.append(int(rows[best.take()]))
        return picks

    def _answered(self, row: int) -> bool:
        return self.found.clips[row] in self.journal.entries

    # --- what is said ---------------------------------------------------------------------------

    def answer(
        self, tab: str, row: int, kind: str, label: str, *, id: str, seconds: float,
        ends: tuple[float, float] | None = None, by: str = "",
    ) -> str:  # fmt: skip
        """Write down what is said of an event. "" or what stands in the way.

        It is on the disk when this returns.

        Args:
            tab: who says it.
            row: of the event.
            kind: of `KINDS`: a call of ``label``, unsure, or no call.
            label: the event's own species, or another.
            id: made by the tab; the same answer twice counts once.
            seconds: how long it took.
            ends: where the call really begins and ends, seconds; None: as found.
            by: the order that the event was shown in.

        Raises:
            UserError: no such event or kind, no name, or it cannot be written.
        """
        if not 0 <= row < len(self.found.clips):
            raise UserError(f"there is no event {row}")
        entry = checked_entry(id, self.found.clips[row], kind, label, seconds)
        if by not in ORDERS:
            raise UserError(f"{by!r} is none of {', '.join(ORDERS)}")
        if ends is not None:
            ends = _checked(*ends)
        return self._add(tab, replace(entry, of=self.found.labels[row], by=by, ends=ends))

    def mark(self, tab: str, row: int, start_s: float, end_s: float, label: str, *, id: str) -> str:
        """Write down a call that was not found, in the recording of an event."""
        if not 0 <= row < len(self.found.clips):
            raise UserError(f"there is no event {row}")
        clip = clip_of(self.found.clips[row][0], *_checked(start_s, end_s))
        return self._add(tab, replace(checked_entry(id, clip, LABEL, label, 0.0), by=MARK))

    def _add(self, tab: str, entry: JournalEntry) -> str:
        with self._lock:
            self.journal.begin(self.found.fingerprint)
            message = self._answers.add(tab, entry)
            if not message:
                write_answers(self.journal, self.found.folder)
        return message

    def undo(self, tab: str) -> bool:
        """Take back this tab's last answer and show its event again; False: there is none.

        After a reload or a restart, the last answer that is no other tab's.
        """
        with self._lock:
            clip = self._answers.undo(tab)
            if clip is None:
                return False
            write_answers(self.journal, self.found.folder)
            row = self.found.row_of.get(clip)
            if row is not None:
                self._shown[tab] = (row, *self._shown.get(tab, ())[:1])
            return True

    # --- what the answers amount to -------------------------------------------------------------

    def sample(self, species: str) -> tuple[Sample, np.ndarray]:
        """What was said of a species' events, and which of them that is: not the unsure ones.

        Returns:
            The sample, and the indices into `rows` of its events.
        """
        entries, rows = self.journal.entries, self.rows[species]
        said_N, drawn_N = np.full(len(rows), UNANSWERED), np.zeros(len(rows), bool)
        unsure_N = np.zeros(len(rows), bool)
        for i, row in enumerate(rows.tolist()):
            entry = entries.get(self.found.clips[row])
            if entry is not None:
                said_N[i] = YES if entry.kind == LABEL and entry.label == species else NO
                drawn_N[i], unsure_N[i] = entry.by == SAMPLE, entry.kind == UNSURE
        kept = np.flatnonzero(~unsure_N)
        stratum_N = strata_of(self.found.logit_N[rows])[kept]
        return Sample(self.found.logit_N[rows][kept], said_N[kept], drawn_N[kept], stratum_N), kept

    def precision(self, species: str) -> Precision | None:
        """What the answers say of a species' events; None where all are unsure."""
        with self._lock:
            key, (done, kept) = len(self.journal.entries), self._precision.get(species, (-1, None))
            if done != key or kept is None:
                sample, _ = self.sample(species)
                if not len(sample.said_N):
                    return None
                kept = precision(sample)
                self._precision[species] = key, kept
            return kept

    def curves(self) -> dict[str, ScoreCurve]:
        """Precision and recall against threshold, of the species that have answers."""
        samples = {name: self.sample(name)[0] for name in self.rows}
        return {
            name: ScoreCurve.of(sample)
            for name, sample in samples.items()
            if (sample.said_N != UNANSWERED).any()
        }

    def state(self) -> dict[str, Any]:
        """Progress, and by species the precision with its interval and the calls per hour."""
        with self._lock:
            entries = dict(self.journal.entries)
        here = {clip: e for clip, e in entries.items() if clip in self.found.row_of}
        counts = Counter((e.of, _outcome(e)) for e in here.values())
        species = [self._numbers(name, counts) for name in self.rows]
        return {
            "done": len(here), "total": len(self.found.clips),
            "marks": sum(not e.of for e in entries.values()),
            "minutes": sum(e.seconds for e in entries.values()) / 60,
            "species": species, "names": self.names,
        }  # fmt: skip

    def _numbers(self, name: str, counts: Counter) -> dict[str, Any]:
        """Answers by species and outcome, and what a species' amount to."""
        yes, no, unsure = (counts[name, outcome] for outcome in ("yes", "no", "unsure"))
        total, hours, found = len(self.rows[name]), self.found.hours, self.precision(name)
        one = {
            "name": name, "total": total, "done": yes + no + unsure,
            "yes": yes, "no": no, "unsure": unsure,
        }  # fmt: skip
        if found is None or not yes + no:
            return one
        hourly = (total - unsure) / hours if hours else None
        return one | {
            "share": found.share, "low": found.low, "high": found.high,
            "to_halve": found.to_halve, "hourly": hourly,
        }  # fmt: skip

    # --- what is shown --------------------------------------------------------------------------

    def event(self, row: int) -> dict[str, Any]:
        """What there is to say of an event."""
        file, start_s, end_s = self.found.clips[row]
        low_hz, high_hz = self.band(row)
        return {
            "row": row, "file": Path(file).name, "start_s": start_s, "end_s": end_s,
            "label": self.found.labels[row], "low_hz": low_hz, "high_hz": high_hz,
            "score": float(self.found.events["score"].iloc[row]),
        }  # fmt: skip

    def near(self, row: int, start_s: float, end_s: float) -> list[dict[str, Any]]:
        """Other events in a stretch of an event's recording, and calls that were marked there."""
        file = self.found.clips[row][0]
        with self._lock:
            marks = [e.clip for e in self.journal.entries.values() if not e.of]
        others = [(clip, False) for other, clip in self.found.of_file(file) if other != row]
        return [
            {"start_s": clip[1], "end_s": clip[2], "mine": mine}
            for clip, mine in [*others, *((clip, True) for clip in marks if clip[0] == file)]
            if clip[1] < end_s and clip[2] > start_s
        ]

    def band(self, row: int) -> tuple[float | None, float | None]:
        """Of an event's box, Hz; None where it has no limit."""
        events = self.found.events
        if "low_hz" not in events:
            return None, None
        low, high = (float(events[name].iloc[row]) for name in ("low_hz", "high_hz"))
        return (None if math.isnan(low) else low), (None if math.isnan(high) else high)


def _outcome(entry: JournalEntry) -> str:
    """Whether an event is what it was found as."""
    if entry.kind == UNSURE:
        return "unsure"
    return "yes" if entry.kind == LABEL and entry.label == entry.of else "no"


def _checked(start_s: float, end_s: float) -> tuple[float, float]:
    if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 <= start_s < end_s):
        raise UserError(f"{start_s:g} to {end_s:g} s is no stretch of time")
    return round(start_s, 6), round(end_s, 6)
