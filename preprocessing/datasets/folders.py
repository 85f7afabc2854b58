"""Data groups: folders of recordings with annotations on the disk, read into a corpus."""

import os
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from g5.common.errors import UserError
from g5.common.files import base_name, is_audio, walk
from g5.common.progress import track
from preprocessing.annotations import (
    RECORDING,
    SUBSET,
    Rows,
    read_dcase,
    read_raven,
    recording_of,
)
from preprocessing.datasets.builder import CorpusBuilder
from preprocessing.events import ANCHORS, Corpus, DataSet, Problem
from preprocessing.recordings import Listing


class _AnnotatedFolders(DataSet):
    """What DCASE and Raven data share: a folder of recordings and tables for each split."""

    group: ClassVar[str]
    suffix: ClassVar[str]  # of the tables

    def __init__(
        self, folders: Mapping[str, str | None], anchor: str, cache_dir: str | None
    ) -> None:
        self.folders = folders
        self.anchor = one_of("anchor", anchor, ANCHORS)
        self.cache_dir = cache_dir

    def load(self) -> Corpus:
        """Read all tables and headers; what is wrong with one file hides nothing of another.

        Raises:
            UserError: a folder is not there, or none is set.
        """
        folders = _existing(self.group, self.folders)
        builder = CorpusBuilder()
        for split, root in folders.items():
            files = walk(root)
            recordings = [file for file in files if is_audio(file)]
            audio, anywhere = _by_folder(recordings), Listing(recordings)
            tables = _tables(builder, root, files, self.suffix)
            label = f"annotations ({split})"
            for path in track(tables, total=len(tables), label=label, unit="files"):
                beside = audio.get(path.parent, Listing([]))
                self._read_table(builder, split, path, beside, anywhere)
            builder.note_unannotated(audio)
        return builder.corpus(self.cache_dir, test_is_val=_only_val(folders))

    @abstractmethod
    def _read_table(
        self, builder: CorpusBuilder, split: str, path: Path, beside: Listing, anywhere: Listing
    ) -> None:
        """Read one table into ``builder``; its recordings lie beside it, or anywhere in the set."""


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
        self.q_class = one_of("q_class", q_class, (RECORDING, SUBSET))

    def _read_table(
        self, builder: CorpusBuilder, split: str, path: Path, beside: Listing, anywhere: Listing
    ) -> None:
        builder.read(
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
        self, builder: CorpusBuilder, split: str, path: Path, beside: Listing, anywhere: Listing
    ) -> None:
        def find(name: str) -> list[Path]:
            if Path(name).is_absolute() and Path(name).is_file():
                return [Path(name)]
            return beside.find(base_name(name)) or anywhere.find(base_name(name))

        builder.read(path, self._read, split=split, find=find, own=find(recording_of(path)))

    def _read(self, path: Path) -> tuple[Rows, list[Problem]]:
        rows, found = read_raven(path, label_column=self.label_column)
        audio = np.where(rows["audio"] == "", recording_of(path), rows["audio"])
        return {**rows, "audio": audio}, found


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
    lost = [f"path.{keys[split]}={path}" for split, path in given.items() if not path.is_dir()]
    if lost:
        raise UserError(f"there is no such folder: {', '.join(lost)}")
    return given


def _only_val(folders: Mapping[str, Path]) -> bool:
    return "val" in folders and "test" not in folders


def absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _by_folder(files: Iterable[Path]) -> dict[Path, Listing]:
    folders: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        folders[file.parent].append(file)
    return {folder: Listing(inside) for folder, inside in folders.items()}


def _tables(builder: CorpusBuilder, root: Path, files: list[Path], suffix: str) -> list[Path]:
    tables = [file for file in files if file.suffix.lower() == suffix]
    if not tables:
        builder.note("no-annotation", root, f"has no annotation tables (*{suffix})", fatal=True)
    return tables
