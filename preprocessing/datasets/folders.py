"""Data groups: folders of recordings with annotations on the disk, read into a corpus."""

import os
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from g5.common.errors import UserError
from g5.common.progress import track
from preprocessing.annotations import (
    RECORDING,
    SUBSET,
    Rows,
    read_clips,
    read_dcase,
    read_raven,
    recording_of,
)
from preprocessing.datasets.builder import Draft
from preprocessing.datasets.splits import FOLD, fold_numbers, read_list, split_hash_of
from preprocessing.events import ANCHORS, Corpus, DataSet, Problem
from preprocessing.recordings import Listing, base_name, is_audio, walk


class _AnnotatedFolders(DataSet):
    """What DCASE and Raven data share: a folder of recordings and tables for each split."""

    group: ClassVar[str]
    suffix: ClassVar[str]  # of the tables

    def __init__(
        self, folders: Mapping[str, str | None], anchor: str, cache_dir: str | None
    ) -> None:
        self.folders = folders
        self.anchor = _one_of("anchor", anchor, ANCHORS)
        self.cache_dir = cache_dir

    def load(self) -> Corpus:
        """Read all tables and headers; what is wrong with one file hides nothing of another.

        Raises:
            UserError: a folder is not there, or none is set.
        """
        folders = _existing(self.group, self.folders)
        draft = Draft()
        for split, root in folders.items():
            files = walk(root)
            recordings = [file for file in files if is_audio(file)]
            audio, anywhere = _by_folder(recordings), Listing(recordings)
            tables = _tables(draft, root, files, self.suffix)
            label = f"annotations ({split})"
            for path in track(tables, total=len(tables), label=label, unit="files"):
                beside = audio.get(path.parent, Listing([]))
                self._read_table(draft, split, path, beside, anywhere)
            draft.note_unannotated(audio)
        return draft.corpus(self.cache_dir, test_is_val=_only_val(folders))

    @abstractmethod
    def _read_table(
        self, draft: Draft, split: str, path: Path, beside: Listing, anywhere: Listing
    ) -> None:
        """Read one table into ``draft``; its recordings lie beside it, or anywhere in the set."""


class DcaseData(_AnnotatedFolders):
    """DCASE few-shot folders: ``<Set>/<SUBSET>/*.wav`` with a CSV beside each recording.

    Args:
        train_dir: the training set's folder, or None.
        eval_dir: the validation set's.
        test_dir: the test set's; None: the validation set is tested on.
        q_class: what one class of a ``Q`` column is: "recording" or "subset" (the folder).
        anchor: where a clip of a longer call is cut, kept for the clip reader.
        cache_dir: folder in which content hashes are remembered, or None.

    Raises:
        UserError: an impossible value, named by its key.
    """

    group, suffix = "dcase", ".csv"

    def __init__(
        self,
        *,
        train_dir: str | None,
        eval_dir: str | None,
        test_dir: str | None,
        q_class: str,
        anchor: str,
        cache_dir: str | None,
    ) -> None:
        folders = {"train": train_dir, "val": eval_dir, "test": test_dir}
        super().__init__(folders, anchor, cache_dir)
        self.q_class = _one_of("q_class", q_class, (RECORDING, SUBSET))

    def _read_table(
        self, draft: Draft, split: str, path: Path, beside: Listing, anywhere: Listing
    ) -> None:
        draft.read(
            path,
            lambda path: read_dcase(path, q_class=self.q_class),
            split=split,
            find=beside.find,
            own=beside.find(f"{path.stem}.wav"),
        )


class RavenData(_AnnotatedFolders):
    """Raven selection tables (``*.txt``) beside their recordings or elsewhere in the folder.

    Args:
        train_dir: the training set's folder, or None.
        eval_dir: the validation set's.
        test_dir: the test set's; None: the validation set is tested on.
        label_column: the column that holds the class; "auto": Annotation, Species or Label.
        anchor: where a clip of a longer call is cut, kept for the clip reader.
        cache_dir: folder in which content hashes are remembered, or None.

    Raises:
        UserError: an impossible value, named by its key.
    """

    group, suffix = "raven", ".txt"

    def __init__(
        self,
        *,
        train_dir: str | None,
        eval_dir: str | None,
        test_dir: str | None,
        label_column: str,
        anchor: str,
        cache_dir: str | None,
    ) -> None:
        folders = {"train": train_dir, "val": eval_dir, "test": test_dir}
        super().__init__(folders, anchor, cache_dir)
        self.label_column = label_column

    def _read_table(
        self, draft: Draft, split: str, path: Path, beside: Listing, anywhere: Listing
    ) -> None:
        def find(name: str) -> list[Path]:
            if Path(name).is_absolute() and Path(name).is_file():
                return [Path(name)]
            return beside.find(base_name(name)) or anywhere.find(base_name(name))

        draft.read(path, self._read, split=split, find=find, own=find(recording_of(path)))

    def _read(self, path: Path) -> tuple[Rows, list[Problem]]:
        rows, found = read_raven(path, label_column=self.label_column)
        audio = np.where(rows["audio"] == "", recording_of(path), rows["audio"])
        return {**rows, "audio": audio}, found


class ClipsData(DataSet):
    """Short clips of one label each: class folders, or a CSV ``file,label[,source][,split]``.

    Args:
        root: a folder of class folders, or the CSV.
        audio_dir: where the CSV's files lie; None: beside the CSV.
        split: "auto" (the CSV's ``split`` column, else by_class), "by_class", or "test"
            (everything is test).
        val_classes: share of the classes for validation (by_class).
        test_classes: share of the classes for the test (by_class).
        fold: cross-validation by class: this fold is the test set, the next one validates, the
            others train; the split file's folds where it has some. None: a hold-out.
        folds: number of folds, where they are not the split file's.
        seed: of the split by class. Classes that share a source stay together.
        anchor: where a clip of a longer call is cut, kept for the clip reader.
        cache_dir: folder in which content hashes are remembered, or None.

    Raises:
        UserError: an impossible value, named by its key.
    """

    def __init__(
        self,
        *,
        root: str | None,
        audio_dir: str | None,
        split: str,
        val_classes: float,
        test_classes: float,
        fold: int | None,
        folds: int,
        seed: int,
        anchor: str,
        cache_dir: str | None,
    ) -> None:
        self.root, self.audio_dir, self.cache_dir = root, audio_dir, cache_dir
        self.split = _one_of("split", split, ("auto", "by_class", "test"))
        self.anchor = _one_of("anchor", anchor, ANCHORS)
        for key, share in (("val_classes", val_classes), ("test_classes", test_classes)):
            if not 0 <= share < 1:
                raise UserError(f"data.{key}: {share} is no share of the classes, 0 to below 1")
        if val_classes + test_classes >= 1:
            raise UserError(
                f"data.val_classes, data.test_classes: {val_classes} + {test_classes} leaves no "
                "classes for training"
            )
        if fold is not None and split == "test":
            raise UserError("data.fold: with data.split=test everything is test; leave one away")
        if folds < 3:
            raise UserError(f"data.folds={folds}: at least 3: one each to test, validate and train")
        self.val_classes, self.test_classes, self.seed = val_classes, test_classes, seed
        self.fold, self.folds = fold, folds
        self.split_file: str | None = None
        self._fold_of_row: np.ndarray | None = None

    def load(self) -> Corpus:
        """Read the list and the headers; what is wrong with one file hides nothing of another.

        Raises:
            UserError: ``root`` is not there, or is no list of clips.
        """
        if self.root is None:
            raise UserError("data=clips needs data.root (or path.train_dir): a folder or a CSV")
        root = _absolute(self.root)
        draft = Draft()
        if root.is_dir():
            self._read_folders(draft, root)
        elif root.exists():
            self._read_list(draft, root)
        else:
            raise UserError(f"data.root: there is no {root}")
        assign = self._by_class if self.fold is None else self._by_fold
        corpus = draft.corpus(self.cache_dir, test_is_val=False, assign_split=assign)
        return replace(corpus, split_file=self.split_file)

    def _read_folders(self, draft: Draft, root: Path) -> None:
        files = [file for file in walk(root) if is_audio(file)]
        clips = [file for file in files if file.parent != root]
        draft.note_left_out(
            root, [file for file in files if file.parent == root], "in no class folder"
        )
        if not clips:
            message = "has no class folders with recordings (root/<label>/*.wav), and is no CSV"
            draft.note("no-annotation", root, message, fatal=True)
        files = np.array([str(file) for file in clips], dtype=object)
        draft.rows.append(
            {
                "file": files,
                "start_s": np.zeros(len(clips)),
                "end_s": np.full(len(clips), np.nan),
                "label": np.array([file.relative_to(root).parts[0] for file in clips], object),
                "status": np.full(len(clips), "POS", dtype=object),
                "split": np.full(len(clips), self._split_of_all(), dtype=object),
                "source": np.full(len(clips), "", dtype=object),
                "table": files,
                "row": np.zeros(len(clips), dtype=np.int64),
            }
        )

    def _read_list(self, draft: Draft, path: Path) -> None:
        home = path.parent if self.audio_dir is None else _absolute(self.audio_dir)
        if not home.is_dir():
            raise UserError(f"data.audio_dir: there is no folder {home}")
        rows, found = read_clips(path)
        draft.problems += found
        if self.split == "auto" and (digest := split_hash_of(path)):
            self.split_file = digest
            table = read_list(path)
            if FOLD in table:
                self._fold_of_row = table[FOLD].to_numpy(np.int64)
        if not len(rows["row"]) and not found:
            draft.note("empty-table", path, "lists no clips", fatal=True)
        if self.split != "auto":
            rows["split"] = np.full(len(rows["row"]), self._split_of_all(), dtype=object)
        draft.add(rows, path, _find_under(home))

    def _split_of_all(self) -> str:
        return "test" if self.split == "test" else ""  # "": by class, once all is read

    def _by_class(self, rows: pd.DataFrame) -> tuple[np.ndarray, list[Problem]]:
        """Give the rows without a split one, by class; the same for the same classes and seed."""
        split = rows["split"].to_numpy(dtype=object)
        todo = split == ""
        if not todo.any():
            return split, []
        groups = _linked_classes(rows.loc[todo])
        n_classes = sum(map(len, groups))
        shares = {"test": self.test_classes, "val": self.val_classes}
        room = {name: max(1, round(share * n_classes)) for name, share in shares.items() if share}
        wanted = {"train", *room}
        place: dict[str, str] = {}
        for position in np.random.default_rng(self.seed).permutation(len(groups)):
            group = groups[position]
            name = next((name for name, left in room.items() if len(group) <= left), "train")
            place.update(dict.fromkeys(group, name))
            if name != "train":
                room[name] -= len(group)
        split[todo] = [place[label] for label in rows["label"].to_numpy(dtype=object)[todo]]
        missing = sorted(wanted - set(place.values()))
        return split, [self._no_split(missing, groups)] if missing else []

    def _by_fold(self, rows: pd.DataFrame) -> tuple[np.ndarray, list[Problem]]:
        """Give every row a split by the fold it is in."""
        assert self.fold is not None
        if self._fold_of_row is not None:
            fold_R = self._fold_of_row[rows["row"].to_numpy() - 2]  # the header is row 1
            folds = int(self._fold_of_row.max()) + 1
        else:
            label_R = rows["label"].to_numpy(str)
            groups = enumerate(_linked_classes(rows))
            group_of = {label: number for number, group in groups for label in group}
            group_R = np.array([group_of[label] for label in label_R])
            if len(np.unique(group_R)) < self.folds:
                message = f"there are only {len(np.unique(group_R))} classes (those that share "
                message += f"sources count as one) for data.folds={self.folds}; lower it"
                return np.full(len(rows), "train"), [
                    Problem("split", str(self.root), message, True)
                ]
            folds = self.folds
            fold_R = fold_numbers(label_R, group_R, folds, stratify=False, seed=self.seed)
        if self.fold >= folds:
            raise UserError(f"data.fold={self.fold}: the folds are 0 to {folds - 1}")
        split = np.full(len(rows), "train", dtype=object)
        split[fold_R == (self.fold + 1) % folds] = "val"
        split[fold_R == self.fold] = "test"
        return split, []

    def _no_split(self, missing: list[str], groups: list[list[str]]) -> Problem:
        message = f"the split by class leaves no class for {' and '.join(missing)}: there are "
        message += f"{sum(map(len, groups))} classes"
        largest = max(map(len, groups))
        if largest > 1:
            message += f", and {largest} of them share sources and must stay together"
        message += "; give a split column, or set data.split=test to test on all of them"
        return Problem("split", str(self.root), message, True)


def _linked_classes(rows: pd.DataFrame) -> list[list[str]]:
    """Classes in groups that share no source (and no bytes) with one another, sorted by name."""
    label, labels = pd.factorize(rows["label"], sort=True)
    source, sources = pd.factorize(rows["source"])
    size = len(labels) + len(sources)
    links = coo_array((np.ones(len(rows)), (label, source + len(labels))), shape=(size, size))
    component = connected_components(links, directed=False)[1][: len(labels)]
    groups: dict[int, list[str]] = defaultdict(list)
    for name, number in zip(labels, component, strict=True):
        groups[int(number)].append(str(name))
    return list(groups.values())


def _find_under(home: Path) -> Callable[[str], list[Path]]:
    """Look relative paths up under ``home``, listing each folder once."""
    listings: dict[Path, Listing] = {}

    def find(name: str) -> list[Path]:
        place = home / name.replace("\\", "/")
        if place.parent not in listings:
            inside = place.parent.iterdir() if place.parent.is_dir() else []
            listings[place.parent] = Listing(filter(is_audio, inside))
        return [file for file in listings[place.parent].find(place.name) if file.exists()]

    return find


def _one_of(key: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise UserError(f"data.{key}: {value!r} is none of {', '.join(choices)}")
    return value


def _existing(group: str, folders: Mapping[str, str | None]) -> dict[str, Path]:
    """The folders that are set, by split; all those that are not there in one error."""
    keys = {"train": "train_dir", "val": "eval_dir", "test": "test_dir"}
    given = {split: _absolute(folder) for split, folder in folders.items() if folder is not None}
    if not given:
        raise UserError(f"data={group} needs path.train_dir, path.eval_dir and path.test_dir")
    lost = [f"path.{keys[split]}={path}" for split, path in given.items() if not path.is_dir()]
    if lost:
        raise UserError(f"there is no such folder: {', '.join(lost)}")
    return given


def _only_val(folders: Mapping[str, Path]) -> bool:
    return "val" in folders and "test" not in folders


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _by_folder(files: Iterable[Path]) -> dict[Path, Listing]:
    folders: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        folders[file.parent].append(file)
    return {folder: Listing(inside) for folder, inside in folders.items()}


def _tables(draft: Draft, root: Path, files: list[Path], suffix: str) -> list[Path]:
    tables = [file for file in files if file.suffix.lower() == suffix]
    if not tables:
        draft.note("no-annotation", root, f"has no annotation tables (*{suffix})", fatal=True)
    return tables
