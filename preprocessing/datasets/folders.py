"""Data groups: folders of recordings with annotations on the disk, read into a corpus."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, TypedDict, Unpack

import numpy as np

from g5.common.elsewhere.places import Address, in_archive, place_of
from g5.common.errors import UserError
from g5.common.files import TABLE_SUFFIXES, is_audio, walk
from g5.common.progress import track
from preprocessing.annotations import (
    EVENTS,
    RECORDING,
    SUBSET,
    Reading,
    Rows,
    columns_in,
    known_columns,
    read_table,
    recording_of,
)
from preprocessing.audio_rules import READ_ALL, AudioRules
from preprocessing.datasets.builder import CorpusBuilder, Finder
from preprocessing.events import ANCHORS, INDIFFERENT, Corpus, DataSet, Problem, at_rows
from preprocessing.naming import Listing


class FolderKeys(TypedDict):
    """What every data group of folders takes, see `AnnotatedData`."""

    train_dir: str | None
    eval_dir: str | None
    test_dir: str | None
    anchor: str
    cache_dir: Annotated[str | None, INDIFFERENT]


class AnnotatedData(DataSet):
    """Folders of recordings with annotation tables of any dialect beside or apart from them.

    Args:
        train_dir: the training set's folder, or None.
        eval_dir: the validation set's.
        test_dir: the test set's; None: the validation set is tested on.
        label_column: the column that holds the class; "auto": the dialect's own.
        q_class: what one class of a DCASE ``Q`` column is: "recording" or "subset" (the folder).
        columns: what tables of no known kind call our columns, ``{ours: theirs}``.
        anchor: where a clip of a longer call is cut, kept for the clip reader.
        cache_dir: folder in which content hashes are remembered, or None.

    Raises:
        UserError: an impossible value, named by its key.
    """

    group: ClassVar[str] = "annotated"
    suffixes: ClassVar[Sequence[str]] = TABLE_SUFFIXES
    dialects: ClassVar[Sequence[str]] = EVENTS

    def __init__(
        self,
        *,
        train_dir: str | None,
        eval_dir: str | None,
        test_dir: str | None,
        label_column: str,
        q_class: str,
        columns: dict[str, str] | None,
        anchor: str,
        cache_dir: Annotated[str | None, INDIFFERENT],
    ) -> None:
        self.columns = known_columns(columns or {}, "data.columns")
        self.folders = {"train": train_dir, "val": eval_dir, "test": test_dir}
        one_of("q_class", q_class, (RECORDING, SUBSET))
        self.anchor = one_of("anchor", anchor, ANCHORS)
        self.cache_dir = cache_dir
        self._how = Reading(label_column=label_column, q_class=q_class)

    def load(self, rules: AudioRules = READ_ALL) -> Corpus:
        """Read all tables and headers; what is wrong with one file hides nothing of another.

        Raises:
            UserError: a folder is not there, or none is set.
        """
        folders = _existing(self.group, self.folders)
        builder = CorpusBuilder()
        for split, root in folders.items():
            files = walk(root)
            builder.note_closed(files)
            recordings = [file for file in files if is_audio(file)]
            audio, anywhere = _by_folder(recordings), Listing(recordings)
            tables = [file for file in files if file.suffix.lower() in self.suffixes]
            if not tables:
                kinds = ", ".join(f"*{suffix}" for suffix in self.suffixes)
                message = f"has no annotation tables ({kinds})"
                builder.note("no-annotation", root, message, fatal=True)
            label = f"annotations ({split})"
            for path in track(tables, total=len(tables), label=label, unit="files"):
                find = self._finder(audio.get(path.parent, Listing([])), anywhere)
                own = find(recording_of(path))
                builder.read(path, self._read, split=split, find=find, own=own)
            builder.note_unannotated(audio)
        return builder.corpus(self.cache_dir, rules, test_is_val=_only_val(folders))

    def _finder(self, beside: Listing, anywhere: Listing) -> Finder:
        """Finds the recordings that a name in a table may mean: beside it, or else in the set."""

        def find(name: str) -> list[Path]:
            if Path(name).is_absolute() and Path(name).is_file():
                return [Path(name)]
            return beside.find(name) or anywhere.find(name)

        return find

    def _read(self, path: Path) -> tuple[Rows, list[Problem]]:
        """The rows of one table that have a class, each with the name of its recording."""
        how = replace(self._how, columns=columns_in(path, self.columns) or {})
        rows, found = read_table(path, how, among=self.dialects)
        rows["audio"] = np.where(rows["audio"] == "", recording_of(path), rows["audio"])
        nameless = rows["label"] == ""
        if nameless.any() and nameless.all():
            raise UserError(f"{path}: names no class in any row; a class to train on needs a label")
        if nameless.any():
            message = "the label is empty; the call is left out"
            where = at_rows(str(path), rows["row"][nameless])
            found.append(Problem("no-label", where, message, False))
        return {name: column[~nameless] for name, column in rows.items()}, found


class RavenData(AnnotatedData):
    """Raven selection tables (``*.txt``) alone; see `AnnotatedData`."""

    group, suffixes, dialects = "raven", (".txt",), ("raven",)

    def __init__(self, *, label_column: str, **others: Unpack[FolderKeys]) -> None:
        super().__init__(label_column=label_column, q_class=RECORDING, columns=None, **others)


class DcaseData(AnnotatedData):
    """DCASE few-shot folders: ``<Set>/<SUBSET>/*.wav`` with a CSV beside each recording.

    See `AnnotatedData`; recordings are looked for beside their table alone, because subsets may
    number theirs alike.
    """

    group, suffixes, dialects = "dcase", (".csv",), ("dcase",)

    def __init__(self, *, q_class: str, **others: Unpack[FolderKeys]) -> None:
        super().__init__(label_column="auto", q_class=q_class, columns=None, **others)

    def _finder(self, beside: Listing, anywhere: Listing) -> Finder:
        return beside.find


def one_of(key: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise UserError(f"data.{key}: {value!r} is none of {', '.join(choices)}")
    return value


def _existing(group: str, folders: Mapping[str, str | None]) -> dict[str, Path]:
    """The folders that are set, by split; all those that are not there in one error."""
    keys = {"train": "train_dir", "val": "eval_dir", "test": "test_dir"}
    given = {split: absolute(folder) for split, folder in folders.items() if folder is not None}
    if not given:
        raise UserError(f"data={group} needs path.train_dir, path.eval_dir and path.test_dir")
    lost = [f"path.{keys[split]}={path}" for split, path in given.items() if not is_there(path)]
    if lost:
        raise UserError(f"there is no such folder: {', '.join(lost)}")
    return given


def _only_val(folders: Mapping[str, Path]) -> bool:
    return "val" in folders and "test" not in folders


def absolute(path: str) -> Path:
    """A folder, a file or a zip archive that is typed; raises `UserError` for an address."""
    if isinstance(place_of(path), Address):
        raise UserError(f"{path}: what is trained on lies on the disk, or in a zip there; copy it")
    return Path(os.path.abspath(os.path.expanduser(path)))


def is_there(folder: Path) -> bool:
    """Whether there is such a folder, such an archive or such a folder in one."""
    return folder.is_dir() or (in_archive(folder) is not None and bool(walk(folder)))


def _by_folder(files: Iterable[Path]) -> dict[Path, Listing]:
    folders: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        folders[file.parent].append(file)
    return {folder: Listing(inside) for folder, inside in folders.items()}
