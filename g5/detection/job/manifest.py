"""The manifest of a run: every input file done, skipped with the reason, or corrupt; work is kept.

What is known of a file lies in ``<out>/.parts/<hash of its path>.json`` with its events beside it;
the manifest of all is written as `ledger.csv`, the name that users' scripts read. A part counts as
long as its key is that of the job.
``<out>/.parts/written.json`` names the results that may be replaced: those that a job has written.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.evaluation.events.ground_truth import LEDGER

DONE, SKIPPED, CORRUPT = "done", "skipped", "corrupt"
WRITTEN = "written.json"
# Suffixes of a file's events, and of those that lower thresholds would find.
EVENTS, CANDIDATES = ".parquet", ".candidates.parquet"


@dataclass(frozen=True)
class ManifestEntry:
    """What became of one file.

    Attributes:
        file: its path.
        status: `DONE`, `SKIPPED` or `CORRUPT`.
        reason: why it was not done, or what to know of it.
        events: how many were found, those of the support aside.
        duration_s: its length.
        key: of the recording, the support and the settings it was done with.
    """

    file: str
    status: str
    reason: str
    events: int
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

    def earlier(self, file: Path, key: str) -> ManifestEntry | None:
        """What an earlier job found in a file with the same key; it is entered again.

        What was corrupt is tried again: it may have been the disk's fault.
        """
        path = self._part(file)
        try:
            entry = ManifestEntry(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        parts = [path.with_suffix(suffix).is_file() for suffix in (EVENTS, CANDIDATES)]
        there = entry.status == SKIPPED or (entry.status == DONE and all(parts))
        if entry.key != key or not there:
            return None
        self.entries[str(file)] = entry
        return entry

    def done(
        self, file: Path, key: str, events: pd.DataFrame, candidates: pd.DataFrame, *,
        duration_s: float, reason: str = "",
    ) -> None:  # fmt: skip
        """Enter a file that is finished, with its events and candidates; they are written first."""
        part = self._part(file)
        for suffix, table in ((EVENTS, events), (CANDIDATES, candidates)):
            with atomic_path(part.with_suffix(suffix)) as temporary:
                table.to_parquet(temporary, index=False)
        new = len(events) - events["support"].tolist().count(True)
        self._enter(ManifestEntry(str(file), DONE, reason, new, float(duration_s), key))

    def failed(
        self, file: Path, key: str, status: str, reason: str, duration_s: float = 0.0
    ) -> None:
        """Enter a file that was `SKIPPED` or is `CORRUPT`."""
        self._enter(ManifestEntry(str(file), status, reason, 0, float(duration_s), key))

    def _enter(self, entry: ManifestEntry) -> None:
        self.entries[entry.file] = entry
        with atomic_path(self._part(Path(entry.file))) as temporary:
            temporary.write_text(json.dumps(asdict(entry), indent=1), encoding="utf-8")

    def done_entries(self) -> list[ManifestEntry]:
        """The entries of files that are finished."""
        return [entry for entry in self.entries.values() if entry.status == DONE]

    def events_of(self, file: str, which: str = EVENTS) -> pd.DataFrame:
        """What was found in a file that is done; ``which`` is `EVENTS` or `CANDIDATES`."""
        return pd.read_parquet(self._part(Path(file)).with_suffix(which))

    def table(self) -> pd.DataFrame:
        """An entry per row, sorted by file."""
        rows = [asdict(self.entries[file]) for file in sorted(self.entries)]
        names = ["file", "status", "reason", "events", "duration_s"]
        return pd.DataFrame(rows, columns=[*names, "key"]).loc[:, names]

    def written(self) -> set[Path]:
        """The results that this or an earlier job has written, or was about to."""
        try:
            names = json.loads((self.parts / WRITTEN).read_text(encoding="utf-8"))
            return {self.folder / name for name in names}
        except (OSError, ValueError, TypeError):
            # What cannot be told from somebody else's is not replaced.
            return set()

    def refuse_others(self, files: Iterable[Path]) -> None:
        """What was found in other recordings is not replaced by what is found in these.

        Raises:
            UserError: an earlier job has searched a recording that is there, but not among these.
        """
        path = self.folder / LEDGER
        if path not in self.written() or not path.is_file():
            return
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
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
                temporary.write_text(json.dumps(names, indent=1), encoding="utf-8")

    def write(self) -> Path:
        """Write `ledger.csv`."""
        path = self.folder / LEDGER
        with atomic_path(path) as temporary:
            self.table().to_csv(temporary, index=False)
        return path

    def _part(self, file: Path) -> Path:
        name = hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return self.parts / f"{name}.json"


def key_of(*facts: Any) -> str:
    """16 hex digits of plain values."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
