"""What people said of clips: a journal that only grows, each entry on the disk before it counts.

One line of JSON per entry with its checksum, in ``labels.jsonl`` of a store's folder or
``reviews.jsonl`` of found events. A line that a crash cut short, or that has changed, is passed
over and counted; all others are whole.
"""

import contextlib
import json
import math
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from g5.common.atomic import disk_errors, hold_file
from g5.common.errors import UserError

FILE = "labels.jsonl"
CHECK = "check"
LABEL, UNSURE, NOT_A_CALL, UNDO, CLASS = "label", "unsure", "not a call", "undo", "class"
ABOUT = "about"
KINDS = (LABEL, UNSURE, NOT_A_CALL)
# How an entry stands in an events table.
STATUS = {LABEL: "POS", UNSURE: "UNK", NOT_A_CALL: "NEG"}
Clip = tuple[str, float, float]


@dataclass(frozen=True)
class JournalEntry:
    """What was said of one clip.

    Attributes:
        id: made by who said it; the same entry twice counts once.
        clip: file, start and end, seconds.
        kind: one of `KINDS`.
        label: the class; "" for other kinds than `LABEL`.
        seconds: how long it took.
        of: the class that the clip was found as; "" where it was not found by anything.
        by: how the clip came to be shown.
        ends: start and end as they were put right; None: the clip's own.
    """

    id: str
    clip: Clip
    kind: str
    label: str
    seconds: float
    of: str = ""
    by: str = ""
    ends: tuple[float, float] | None = None


def clip_of(file: str, start_s: float, end_s: float) -> Clip:
    """The name of a clip; a clip without an end (a whole recording) ends at -1."""
    return (str(file), round(float(start_s), 6), -1.0 if end_s != end_s else round(float(end_s), 6))


class Journal:
    """The labels of one store; from one process at a time, any number of its threads.

    Args:
        folder: of what is labelled.
        file: its name there.
        command: that writes it, to be named in messages.

    Attributes:
        entries: the last word on each clip, in the order it was said.
        classes: that were added while labelling.
        about: what the entries are about, where that can change; "" where nothing was said of it.
        damaged: lines that could not be read.
    """

    def __init__(self, folder: Path, file: str = FILE, command: str = "g5 label") -> None:
        self.path, self.command = folder / file, command
        self.about = ""
        self.entries: dict[Clip, JournalEntry] = {}
        self.classes: list[str] = []
        self.damaged = 0
        self._ids: set[str] = set()
        self._lock = threading.Lock()
        self._read()

    def _read(self) -> None:
        if not self.path.exists():
            return
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror})") from error
        for line in content.split(b"\n"):
            if not line.strip():
                continue
            try:
                said = json.loads(line.decode("utf-8"))
                # An earlier version wrote none.
                if (check := said.pop(CHECK, None)) not in (None, _checksum(said)):
                    raise ValueError(check)
                self._apply(said)
            except (ValueError, KeyError, TypeError, AttributeError):
                self.damaged += 1

    def _apply(self, said: dict[str, Any]) -> None:
        if said["kind"] == CLASS:
            self.classes.append(str(said["label"]))
            return
        if said["kind"] == ABOUT:
            self.about = str(said["label"])
            return
        file, start_s, end_s = said["clip"]
        clip = (str(file), float(start_s), float(end_s))
        if said["kind"] == UNDO:
            self.entries.pop(clip, None)
        elif said["kind"] in KINDS:
            seconds = float(said["seconds"])
            # An earlier version wrote NaN, which no JSON holds.
            seconds = seconds if math.isfinite(seconds) else 0.0
            ends = (float(said["ends"][0]), float(said["ends"][1])) if "ends" in said else None
            more = str(said.get("of", "")), str(said.get("by", "")), ends
            entry = JournalEntry(
                str(said["id"]), clip, said["kind"], str(said["label"]), seconds, *more
            )
            self.entries.pop(clip, None)
            self.entries[clip] = entry
            self._ids.add(entry.id)
        else:
            raise ValueError(said["kind"])

    def add(self, entry: JournalEntry) -> JournalEntry | None:
        """Write an entry; what another said of the clip before stays, and is returned.

        Raises:
            UserError: the disk is full or the folder cannot be written; the entry does not count.
        """
        with self._lock:
            if entry.id in self._ids:
                return None
            before = self.entries.get(entry.clip)
            if before is not None:
                return before
            said: dict[str, Any] = {
                "id": entry.id, "kind": entry.kind, "label": entry.label,
                "clip": list(entry.clip), "seconds": round(entry.seconds, 2),
            }  # fmt: skip
            said |= {key: value for key in ("of", "by", "ends") if (value := getattr(entry, key))}
            self._write(said)
            return None

    def undo(self, clip: Clip) -> JournalEntry | None:
        """Take back what was said of a clip; what that was."""
        with self._lock:
            entry = self.entries.get(clip)
            if entry is not None:
                self._write({"kind": UNDO, "clip": list(clip)})
            return entry

    def add_class(self, name: str) -> None:
        """Remember a new class."""
        with self._lock:
            if name not in self.classes:
                self._write({"kind": CLASS, "label": name})

    def begin(self, about: str) -> None:
        """Say what the entries are about, unless that is what was said last."""
        with self._lock:
            if about != self.about:
                self._write({"kind": ABOUT, "label": about})

    def _write(self, said: dict[str, Any]) -> None:
        said = {**said, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        line = json.dumps({**said, CHECK: _checksum(said)}, ensure_ascii=False).encode() + b"\n"
        with disk_errors(self.path), open(self.path, "ab") as handle:
            end = handle.tell()
            if end and not _ends_in_newline(self.path):
                line = b"\n" + line
            try:
                handle.write(line)
                handle.flush()
                os.fsync(handle.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, end)
                raise
        self._apply(said)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out while this one labels.

        Raises:
            UserError: another is at it.
        """
        with disk_errors(self.path), open(self.path.with_suffix(".lock"), "wb") as handle:
            if hold_file(handle) is False:
                raise UserError(
                    f"{self.path.parent}: another {self.command} is at work here; go on in its "
                    "page, or stop it first"
                )
            yield

    def events(self) -> pd.DataFrame:
        """An events table: labels are POS, unsure UNK, not a call NEG."""
        rows = [
            (*entry.clip, entry.label or entry.kind, STATUS[entry.kind])
            for entry in self.entries.values()
        ]
        columns = ["file", "start_s", "end_s", "label", "status"]
        return pd.DataFrame(rows, columns=columns).sort_values(
            ["file", "start_s"], ignore_index=True
        )


def _checksum(said: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(said, sort_keys=True).encode())


def _ends_in_newline(path: Path) -> bool:
    with open(path, "rb") as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) == b"\n"
