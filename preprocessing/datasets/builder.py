"""Builds a corpus: what tables say, brought together with the recordings they speak of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.files import is_audio, is_table
from g5.common.words import some
from preprocessing import check
from preprocessing.annotations import Rows, UnknownFormat, odd_labels
from preprocessing.annotations.table import decode
from preprocessing.audio_rules import AudioRules
from preprocessing.events import (
    CORPUS_COLUMNS,
    RECORDING_COLUMNS,
    Corpus,
    Problem,
    at_rows,
)
from preprocessing.naming import Listing
from preprocessing.recordings import scan

# Events that know their recording, and where they were read. Texts repeat: as categories they
# are compared and sorted as numbers.
_TYPES = {
    "file": "category", "start_s": "float64", "end_s": "float64", "label": "category",
    "status": "category", "split": "category", "source": "category", "table": "category",
    "row": "int64",
}  # fmt: skip
# How many file names one problem spells out.
NAMES_SHOWN = 20

Finder = Callable[[str], list[Path]]


@dataclass
class CorpusBuilder:
    """Rows of events so far, recordings that have none, and problems."""

    rows: list[Rows] = field(default_factory=list)
    quiet: dict[str, str] = field(default_factory=dict)  # recordings without events: their split
    named: set[str] = field(default_factory=set)  # recordings that have a table, good or bad
    problems: list[Problem] = field(default_factory=list)

    def note(self, kind: str, where: object, message: str, *, fatal: bool = False) -> None:
        """Add a problem."""
        self.problems.append(Problem(kind, str(where), message, fatal))

    def read(
        self,
        path: Path,
        reader: Callable[[Path], tuple[Rows, list[Problem]]],
        *,
        split: str,
        find: Finder,
        own: list[Path],
    ) -> None:
        """Read one table into ``split``, or note why that is not possible.

        Args:
            reader: of `preprocessing.annotations`.
            find: the recordings that a name in the table may mean.
            own: the recordings that the table's own name may mean.
        """
        self.named |= {str(file) for file in own}
        try:
            rows, found = reader(path)
        except UserError as error:
            message = str(error).removeprefix(str(path)).lstrip(":, ")
            if isinstance(error, UnknownFormat) and not decode(path).strip():
                self._note_empty(path, own, split)
            elif isinstance(error, UnknownFormat) and not own:
                self.note("no-annotation", path, f"{message}; the file is passed over")
            else:
                self.note("unknown-format", path, message, fatal=True)
            return
        self.problems += found
        if not len(rows["row"]) and not found:
            self._note_empty(path, own, split)
        source = rows.get("source", _constant("", rows))
        self.add({**rows, "split": _constant(split, rows), "source": source}, path, find)

    def add(self, rows: Rows, table: Path, find: Finder) -> None:
        """Add a table's rows, each with the recording that its ``audio`` means."""
        places: dict[str, str] = {}
        lost: list[str] = []
        names = rows["audio"]
        for name in dict.fromkeys(names):
            files = find(name)
            if len(files) == 1:
                places[name] = str(files[0])
            elif not files:
                lost.append(name)
            else:
                at = at_rows(str(table), rows["row"][names == name])
                several = " or ".join(map(str, files))
                self.note("missing-audio", at, f"{name!r} may be {several}; rename", fatal=True)
        if lost:
            missing = set(lost)
            at = at_rows(str(table), rows["row"][[name in missing for name in names]])
            message = (
                f"no such recording: {some(lost, NAMES_SHOWN)}; put it there, or remove the rows"
            )
            self.note("missing-audio", at, message, fatal=True)
        self.named.update(places.values())
        found = np.array([name in places for name in names], dtype=bool)
        file = np.array([places[name] for name in names[found]], dtype=object)
        rows = {name: column[found] for name, column in rows.items()}
        self.rows.append({**rows, "file": file, "table": _constant(str(table), rows)})

    def note_unannotated(self, audio: Mapping[Path, Listing]) -> None:
        """Note the recordings that no table speaks of, folder by folder."""
        for folder, listing in audio.items():
            alone = [file for file in listing if str(file) not in self.named]
            self.note_left_out(folder, alone, "no annotation table")

    def note_closed(self, files: Iterable[Path]) -> None:
        """Note the folders among walked files that cannot be entered."""
        for file in files:
            if not (is_audio(file) or is_table(file)) and file.is_dir():
                self.note("unreadable-folder", file, "cannot be entered; left out")

    def note_left_out(self, folder: Path, files: list[Path], reason: str) -> None:
        """Note recordings of a folder that are not used."""
        if files:
            names = some([file.name for file in files], NAMES_SHOWN)
            self.note("no-annotation", folder, f"{names}: {reason}; left out")

    def _note_empty(self, path: Path, own: list[Path], split: str) -> None:
        self.note("empty-table", path, "has no rows; its recording counts as one without calls")
        for file in own[:1]:
            self.quiet[str(file)] = split

    def corpus(
        self, cache_dir: str | None, rules: AudioRules, *, test_is_val: bool, assign_split:
        Callable[[pd.DataFrame], tuple[np.ndarray, list[Problem]]] | None = None,
    ) -> Corpus:  # fmt: skip
        """Read the recordings' headers, look for problems, and put all together.

        Args:
            cache_dir: folder in which content hashes are remembered, or None.
            rules: how recordings are read.
            test_is_val: there is no test set of its own.
            assign_split: gives every row its split, once the sources are known.
        """
        rows, scanned = self._measured(cache_dir, rules)
        source = rows["source"].to_numpy(dtype=object)
        named = source != ""
        source[~named] = _content_sources(rows.loc[~named], scanned)
        sha256 = dict(zip(scanned["file"], scanned["sha256"], strict=True))
        rows = rows.assign(source=_column(source), sha256=[sha256[file] for file in rows["file"]])
        self._tell_labels(rows)
        if assign_split is not None:
            split, found = assign_split(rows)
            rows = rows.assign(split=_column(split))
            self.problems += found
        quiet = pd.DataFrame({"file": list(self.quiet), "split": list(self.quiet.values())})
        places = pd.concat([rows.loc[:, ["file", "split"]], quiet]).drop_duplicates()
        self.problems += check.duplicate_bytes(places.merge(scanned, on="file"))
        self.problems += check.leaks(rows, "label")
        self.problems += check.leaks(rows.loc[named], "source")
        if test_is_val:
            message = (
                "is not set, so the test is on the validation set, which also chose the "
                "checkpoint: its accuracy is too good for new recordings"
            )
            self.note("test-is-val", "path.test_dir", message)
        recordings = _recordings(scanned, rows, self.quiet)
        return Corpus(_events(rows), recordings, tuple(self.problems), test_is_val, rules=rules)

    def _tell_labels(self, rows: pd.DataFrame) -> None:
        """Spellings of one class in several tables; of each table alone its reader has told."""
        told = {problem.message for problem in self.problems}
        for line in odd_labels(rows["label"].unique()):
            if line not in told:
                self.note("label", "the tables together", line)

    def _measured(
        self, cache_dir: str | None, rules: AudioRules
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The rows, put right against the recordings' lengths; and the recordings."""
        rows = _gathered(self.rows)
        files = map(Path, {*rows["file"].unique(), *self.quiet})
        scanned, found = scan(files, cache_dir, rules)
        self.problems += found
        rows = rows.loc[rows["file"].isin(scanned["file"])]
        self.problems += check.unsorted(rows)
        durations = dict(zip(scanned["file"], scanned["duration_s"], strict=True))
        for step in (lambda rows: check.inside(rows, durations), check.without_duplicates):
            rows, found = step(rows)
            self.problems += found
        self.problems += check.overlaps(rows)
        return rows, scanned


def _gathered(parts: list[Rows]) -> pd.DataFrame:
    columns = {}
    for name, kind in _TYPES.items():
        text = kind == "category"
        first = np.zeros(0, object if text else kind)  # there may be no parts
        values = np.concatenate([first, *(part[name] for part in parts)])
        columns[name] = _column(values) if text else values
    return pd.DataFrame(columns)


def _content_sources(rows: pd.DataFrame, scanned: pd.DataFrame) -> np.ndarray:
    """Each row's recording, as the first of the files with the same bytes."""
    first: dict[str, str] = {}
    known = {
        file: first.setdefault(sha256, file)
        for file, sha256 in zip(scanned["file"], scanned["sha256"], strict=True)
    }
    return np.array([known[file] for file in rows["file"]], dtype=object)


def _column(texts: np.ndarray) -> pd.Categorical:
    """Texts as categories in order: several times faster than through pandas' own inference."""
    codes, values = pd.factorize(texts, sort=True)
    return pd.Categorical.from_codes(codes, pd.Index(values, dtype="str"))


def _events(rows: pd.DataFrame) -> pd.DataFrame:
    keys = [rows["label"].cat.codes, rows["end_s"], rows["start_s"], rows["file"].cat.codes]
    order = np.lexsort([key.to_numpy() for key in keys])
    events = rows.iloc[order].loc[:, CORPUS_COLUMNS].reset_index(drop=True)
    for name in CORPUS_COLUMNS:
        if _TYPES[name] == "category":
            values = events[name].cat
            events[name] = values.categories.take(values.codes).array
    return events


def _recordings(
    scanned: pd.DataFrame, rows: pd.DataFrame, quiet: Mapping[str, str]
) -> pd.DataFrame:
    """The scanned recordings that are used, with the split and the source of their first event."""
    first = rows.drop_duplicates("file")
    splits = {**quiet, **dict(zip(first["file"], first["split"], strict=True))}
    sources = dict(zip(first["file"], first["source"], strict=True))
    known = scanned.loc[scanned["file"].isin(splits)]
    split = [splits[file] for file in known["file"]]
    source = [sources.get(file, file) for file in known["file"]]
    table = known.assign(split=split, source=source).astype({"split": "str", "source": "str"})
    return table.loc[:, RECORDING_COLUMNS].reset_index(drop=True)


def _constant(value: str, rows: Rows) -> np.ndarray:
    return np.full(len(rows["row"]), value, dtype=object)
