"""Data group of short clips, one label each: class folders or a list, parted by class."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.files import is_audio, walk
from g5.common.words import counted, some
from preprocessing.annotations import Reading, known_columns, read_table
from preprocessing.annotations.reading import read_texts
from preprocessing.annotations.spelling import NO_CALL, folded
from preprocessing.audio_rules import READ_ALL, AudioRules
from preprocessing.check import contradictions
from preprocessing.datasets.builder import CorpusBuilder
from preprocessing.datasets.folders import absolute, is_there, one_of
from preprocessing.datasets.splits import (
    FOLD,
    fold_numbers,
    linked_classes,
    read_list,
    split_hash_of,
)
from preprocessing.events import ANCHORS, INDIFFERENT, Corpus, DataSet, Problem
from preprocessing.naming import finder

# How many classes are spelled out.
NAMED = 10


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
        columns: what the CSV calls our columns, ``{ours: theirs}``.
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
        columns: dict[str, str] | None,
        seed: int,
        anchor: str,
        cache_dir: Annotated[str | None, INDIFFERENT],
    ) -> None:
        self.root, self.audio_dir, self.cache_dir = root, audio_dir, cache_dir
        self.columns = known_columns(columns or {}, "data.columns")
        self.split = one_of("split", split, ("auto", "by_class", "test"))
        self.anchor = one_of("anchor", anchor, ANCHORS)
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
        self._fold_of_row: pd.Series | None = None

    def load(self, rules: AudioRules = READ_ALL) -> Corpus:
        """Read the list and the headers; what is wrong with one file hides nothing of another.

        Raises:
            UserError: ``root`` is not there, or is no list of clips.
        """
        if self.root is None:
            raise UserError("data=clips needs data.root (or path.train_dir): a folder or a CSV")
        root = absolute(self.root)
        builder = CorpusBuilder()
        if is_there(root):
            self._read_folders(builder, root)
        elif root.exists():
            self._read_list(builder, root)
        else:
            raise UserError(f"data.root: there is no {root}")
        corpus = builder.corpus(self.cache_dir, rules, test_is_val=False, assign_split=self._splits)
        return replace(corpus, split_file=self.split_file)

    def _read_folders(self, builder: CorpusBuilder, root: Path) -> None:
        walked = walk(root)
        builder.note_closed(walked)
        files = [file for file in walked if is_audio(file)]
        clips = [file for file in files if file.parent != root]
        builder.note_left_out(
            root, [file for file in files if file.parent == root], "in no class folder"
        )
        if not clips:
            message = "has no class folders with recordings (root/<label>/*.wav), and is no CSV"
            builder.note("no-annotation", root, message, fatal=True)
        label_of = {file: file.relative_to(root).parts[0].strip() for file in clips}
        clips = [file for file in clips if folded(label_of[file]) not in NO_CALL]
        if len(clips) < len(label_of):
            left = counted(len(label_of) - len(clips), "clip")
            message = f"{left} in a folder that says that nothing called; left out"
            builder.note("no-call", root, message)
        labels = [label_of[file] for file in clips]
        names = sorted(set(labels))
        if names:
            message = f"folder names became classes: {some(names, NAMED)}"
            builder.note("folder-classes", root, message)
        files = np.array([str(file) for file in clips], dtype=object)
        builder.rows.append(
            {
                "file": files,
                "start_s": np.zeros(len(clips)),
                "end_s": np.full(len(clips), np.nan),
                "label": np.array(labels, dtype=object),
                "status": np.full(len(clips), "POS", dtype=object),
                "split": np.full(len(clips), self._split_of_all(), dtype=object),
                "source": np.full(len(clips), "", dtype=object),
                "table": files,
                "row": np.zeros(len(clips), dtype=np.int64),
            }
        )

    def _read_list(self, builder: CorpusBuilder, path: Path) -> None:
        home = path.parent if self.audio_dir is None else absolute(self.audio_dir)
        if not is_there(home):
            raise UserError(f"data.audio_dir: there is no folder {home}")
        rows, found = read_table(path, Reading(columns=self.columns), among=("clips",))
        builder.problems += found
        if self.split == "auto" and (digest := split_hash_of(path)):
            self.split_file = digest
            table = read_list(path, self.columns)
            if FOLD in table:
                # A cell of two lines makes the next row's number greater by two.
                numbers = read_texts(path).rows
                self._fold_of_row = pd.Series(table[FOLD].to_numpy(np.int64), index=numbers)
        if not len(rows["row"]) and not found:
            builder.note("empty-table", path, "lists no clips", fatal=True)
        if self.split != "auto":
            rows["split"] = np.full(len(rows["row"]), self._split_of_all(), dtype=object)
        builder.add(rows, path, finder(home))

    def _split_of_all(self) -> str:
        return "test" if self.split == "test" else ""  # "": by class, once all is read

    def _splits(self, rows: pd.DataFrame) -> tuple[np.ndarray, list[Problem]]:
        """Every row's split, and what is odd about the labels or the split."""
        split, found = (self._by_class if self.fold is None else self._by_fold)(rows)
        return split, [*contradictions(rows), *found]

    def _by_class(self, rows: pd.DataFrame) -> tuple[np.ndarray, list[Problem]]:
        """Give the rows without a split one, by class; the same for the same classes and seed."""
        split = rows["split"].to_numpy(dtype=object)
        todo = split == ""
        if not todo.any():
            return split, []
        groups = _groups_of_classes(rows.loc[todo])
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
            fold_R = self._fold_of_row.loc[rows["row"]].to_numpy()
            folds = int(self._fold_of_row.max()) + 1
        else:
            label_R = rows["label"].to_numpy(str)
            groups = enumerate(_groups_of_classes(rows))
            group_of = {label: number for number, group in groups for label in group}
            group_R = np.array([group_of[label] for label in label_R])
            if len(np.unique(group_R)) < self.folds:
                message = f"has only {counted(len(np.unique(group_R)), 'class', 'classes')} (those "
                message += f"that share sources count as one) for data.folds={self.folds}; lower it"
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
        message += f"{counted(sum(map(len, groups)), 'class', 'classes')}"
        largest = max(map(len, groups))
        if largest > 1:
            message += f", and {largest} of them share sources and must stay together"
        message += "; give a split column, or set data.split=test to test on all of them"
        return Problem("split", str(self.root), message, True)


def _groups_of_classes(rows: pd.DataFrame) -> list[list[str]]:
    """Classes in groups that share no source (and no bytes) with one another, sorted by name."""
    groups: dict[int, list[str]] = defaultdict(list)
    for label, number in sorted(set(zip(rows["label"], linked_classes(rows), strict=True))):
        groups[int(number)].append(str(label))
    return list(groups.values())
