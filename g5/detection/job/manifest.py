"""The manifest of a run: every input file done, skipped with the reason, or corrupt; work is kept.

What is known of a file lies in ``<out>/.parts/<hash of its path>.part``, its events, candidates and
key in one file with checksums; the manifest of all is written as `ledger.csv`, the name that users'
scripts read. A part counts as long as its key is that of the job, and is made again where it is
damaged.
``<out>/.parts/written.json`` names the results that may be replaced: those that a job has written.
"""

import hashlib
import io
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from g5.common import sealed
from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.common.spreadsheet import write_csv
from g5.evaluation.events.ground_truth import LEDGER, read_ledger

DONE, SKIPPED, CORRUPT = "done", "skipped", "corrupt"
WRITTEN = "written.json"
# In a file's part: what became of it, its events, and those that lower thresholds would find.
ENTRY, EVENTS, CANDIDATES = "entry.json", "events.parquet", "candidates.parquet"
# What an earlier g5 kept of a file, which its part replaces.
EARLIER = (".json", ".parquet", ".candidates.parquet")


@dataclass(frozen=True)
class ManifestEntry:
    """What became of one file.

    Attributes:
        file: its path.
        status: `DONE`, `SKIPPED` or `CORRUPT`.
        reason: why it was not done, or what to know of it.
        events: how many it has in `predictions.csv`.
        support: how many of them are the support's own.
        duration_s: its length.
        key: of the recording, the support and the settings it was done with.
    """

    file: str
    status: str
    reason: str
    events: int
    support: int
    duration_s: float
    key: str


class Manifest:
    """What became of the recordings of one output folder.

    Args:
        folder: where results go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = folder / ".parts"
        self.entries: dict[str, ManifestEntry] = {}
        self._told = False

    def earlier(self, file: Path, key: str) -> ManifestEntry | None:
        """What an earlier job found in a file with the same key; it is entered again.

        What was corrupt is tried again: it may have been the disk's fault.
        """
        try:
            parts = sealed.unpack(self._part(file))
            entry = ManifestEntry(**json.loads(parts[ENTRY]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError):
            print(f"note: {file}: what was found is damaged, and is made again", file=sys.stderr)
            return None
        if entry.key != key or entry.file != str(file) or entry.status not in (DONE, SKIPPED):
            return None
        self.entries[str(file)] = entry
        return entry

    def done(
        self, file: Path, key: str, events: pd.DataFrame, candidates: pd.DataFrame, *,
        duration_s: float, reason: str = "",
    ) -> ManifestEntry:  # fmt: skip
        """Enter a file that is finished, with its events and candidates."""
        own = events["support"].tolist().count(True)
        entry = ManifestEntry(str(file), DONE, reason, len(events), own, float(duration_s), key)
        tables = {EVENTS: events, CANDIDATES: candidates}
        parts = {name: table.to_parquet(index=False) for name, table in tables.items()}
        return self._enter(entry, parts)

    def failed(
        self, file: Path, key: str, status: str, reason: str, duration_s: float = 0.0
    ) -> ManifestEntry:
        """Enter a file that was `SKIPPED` or is `CORRUPT`."""
        return self._enter(ManifestEntry(str(file), status, reason, 0, 0, float(duration_s), key))

    def left_out(self, file: str, reason: str, duration_s: float) -> None:
        """Enter a file that was not asked for; what was once found in it is kept."""
        self.entries[file] = ManifestEntry(file, SKIPPED, reason, 0, 0, duration_s, "")

    def _enter(
        self, entry: ManifestEntry, tables: Mapping[str, bytes] | None = None
    ) -> ManifestEntry:
        self.entries[entry.file] = entry
        part = self._part(Path(entry.file))
        sealed.pack(part, {ENTRY: json.dumps(asdict(entry), indent=1).encode(), **(tables or {})})
        for suffix in EARLIER:
            part.with_suffix(suffix).unlink(missing_ok=True)
        return entry

    def done_entries(self) -> list[ManifestEntry]:
        """The entries of files that are finished."""
        return [entry for entry in self.entries.values() if entry.status == DONE]

    def events_of(self, file: str, which: str = EVENTS) -> pd.DataFrame:
        """What was found in a file that is done; ``which`` is `EVENTS` or `CANDIDATES`."""
        return pd.read_parquet(io.BytesIO(sealed.unpack(self._part(Path(file)))[which]))

    def table(self) -> pd.DataFrame:
        """An entry per row, sorted by file."""
        rows = [asdict(self.entries[file]) for file in sorted(self.entries)]
        names = ["file", "status", "reason", "events", "support", "duration_s"]
        return pd.DataFrame(rows, columns=[*names, "key"]).loc[:, names]

    def written(self) -> set[Path]:
        """The results that this or an earlier job has written, or was about to."""
        path = self.parts / WRITTEN
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            names = told["results"] if isinstance(told, dict) else told  # a list had no checksum
            if isinstance(told, dict) and told["checksum"] != key_of(names):
                raise ValueError("its checksum differs")
            return {self.folder / name for name in names}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError, KeyError):
            # What cannot be told from somebody else's is not replaced.
            if not self._told:
                self._told = True
                print(
                    f"note: {path}: is damaged; what is there of an earlier detection cannot be "
                    "told from what is yours",
                    file=sys.stderr,
                )
            return set()

    def refuse_others(self, files: Iterable[Path]) -> None:
        """What was found in other recordings is not replaced by what is found in these.

        Raises:
            UserError: an earlier job has searched a recording that is there, but not among these.
        """
        path = self.folder / LEDGER
        if path not in self.written() or not path.is_file():
            return
        table = read_ledger(self.folder)
        done = table.loc[table["status"] == DONE, "file"]
        for file in sorted(set(done) - {str(file) for file in files}):
            if Path(file).is_file():
                raise UserError(
                    f"{self.folder}: holds what was found in {file}, which is not searched "
                    "now, and would be replaced; set another -o, or search a folder that holds both"
                )

    def will_write(self, results: Iterable[Path]) -> None:
        """Remember results before they are written: a job that is killed may replace its own."""
        before = self.written()
        now = before | set(results)
        if now != before:
            with atomic_path(self.parts / WRITTEN) as temporary:
                names = sorted(path.relative_to(self.folder).as_posix() for path in now)
                told = {"results": names, "checksum": key_of(names)}
                temporary.write_text(json.dumps(told, indent=1), encoding="utf-8")

    def write(self, table: pd.DataFrame) -> Path:
        """Write `ledger.csv`: `table`, and what else is known of each file."""
        path = self.folder / LEDGER
        write_csv(table, path)
        return path

    def _part(self, file: Path) -> Path:
        name = hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return self.parts / f"{name}.part"


def key_of(*facts: Any) -> str:
    """16 hex digits of plain values."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
