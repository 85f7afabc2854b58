"""A store of embeddings: vectors in the one store, a row of the index for each of them.

``birds.store`` is a folder, a `preprocessing.store.store.Store` whose settings say what made the
vectors. Vectors are added in blocks (a recording, or a piece of a table); a block is one array of
the store, and its part of the index lies in the block's meta as lists, so that a million vectors
open in a moment. A block is there whole or not at all.

Shapes: N vectors, D their width, B blocks.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from g5.common.atomic import write_text
from g5.common.elsewhere.places import Address, place_of
from g5.common.errors import UserError, brief
from g5.common.words import counted
from g5.embeddings.blocks import Vectors
from preprocessing.audio_rules import READ_ALL, AudioRules
from preprocessing.store.shards import to_half
from preprocessing.store.store import Store
from preprocessing.store.writer import StoreWriter

KIND = "embeddings"
COMMAND = "g5 embed ENCODER recordings/ -o"
ROOT_FILE = "audio_root.json"
TEXTS = ("file", "label", "source", "date")
SECONDS = ("start_s", "end_s")
INDEX_COLUMNS = ["file", "start_s", "end_s", "label", "source", "date"]
# Columns of an index by name: a table, or what one is made of.
Columns = pd.DataFrame | Mapping[str, Any]
TIMESTAMP = re.compile(r"(\d{4}-\d{2}-\d{2})[T ]\d{2}:.*")
# Rows of a table that become one block: little to lose, and a small index.
BLOCK_ROWS = 16384


@dataclass(frozen=True)
class EncoderFacts:
    """What made the vectors of a store; two encoders never share one.

    Attributes:
        encoder: its name, for people.
        encoder_hash: of its weights and settings; what tells two encoders apart.
        embedding_dim: width of a vector.
        sr: sample rate of the encoder's input, Hz; 0 if not known.
        window_s: length of the sound behind a vector, seconds; 0 if not known.
        front_end: settings of the front end; empty for encoders that take waveforms.
    """

    encoder: str
    encoder_hash: str
    embedding_dim: int
    sr: int
    window_s: float
    front_end: dict[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """As the store keeps them."""
        return {"kind": KIND, **asdict(self)}


class VectorStore:
    """The vectors of one encoder and what each of them is; from `open` or `create`.

    Attributes:
        path: the folder.
        facts: the encoder behind the vectors.
        index: one row per vector: ``file`` (relative to ``audio_root``), ``start_s``, ``end_s``,
            ``label``, ``source``, ``date`` ("" where not known; the texts are categories).
        vectors: (N, D) fp16, memory-mapped.
        rules: how its recordings are read.
    """

    def __init__(self, store: Store, rules: AudioRules = READ_ALL) -> None:
        self._store, self.rules = store, rules
        self.path = store.path
        settings = {key: value for key, value in store.settings.items() if key != "kind"}
        try:
            self.facts = EncoderFacts(**settings)
        except TypeError as error:
            raise UserError(f"{self.path}: its settings are not those of embeddings") from error
        self._read: tuple[Vectors, pd.DataFrame] | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str], rules: AudioRules = READ_ALL) -> "VectorStore":
        """Open a store that is there.

        Raises:
            UserError: there is none, or it holds something else.
        """
        store = Store.at(path, command=f"{COMMAND} {path}")
        if str(store.settings.get("encoder_hash")).startswith("imported"):
            store = Store.at(path, command=f"g5 import FILES -o {path}")
        if store.settings.get("kind") != KIND:
            raise UserError(f"{path}: is a store of something else than embeddings")
        return cls(store, rules)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        facts: EncoderFacts,
        *,
        audio_root: str | os.PathLike[str] | None = None,
    ) -> "VectorStore":
        """Open the store of this encoder, or make it.

        Args:
            path: the folder.
            facts: what makes the vectors.
            audio_root: the folder that ``file`` is relative to; kept relative to the store.

        Raises:
            UserError: it holds the vectors of another encoder (and which), or something else.
        """
        store = Store.at(path, facts.settings(), command=f"{COMMAND} {path}")
        there, wanted = store.settings, json.loads(json.dumps(facts.settings()))
        if there.get("kind") != KIND:
            raise UserError(f"{path}: is a store of something else than embeddings")
        different = [key for key in wanted if there.get(key) != wanted[key] and key != "encoder"]
        if different:
            raise UserError(
                f"{path}: holds vectors of the encoder {there.get('encoder')} "
                f"({_facts_text(there, different)}), not of {facts.encoder} "
                f"({_facts_text(wanted, different)}); two encoders do not mix: name another store"
            )
        self = cls(store)
        if audio_root is not None:
            self._keep_root(place_of(audio_root))
        return self

    @classmethod
    def mend(cls, path: str | os.PathLike[str]) -> list[str]:
        """Read a whole store and drop what is corrupt in it; a line for each fault.

        Raises:
            UserError: there is no store of embeddings, or it cannot be written.
        """
        store = cls.open(path)._store
        faults = store.faults()
        store.drop_corrupt(faults)
        return [str(fault) for fault in faults]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def vectors(self) -> Vectors:
        """All vectors (N, D) fp16, in the order they were added."""
        return self._loaded()[0]

    @property
    def index(self) -> pd.DataFrame:
        """What each vector is, in the same order."""
        return self._loaded()[1]

    @property
    def keys(self) -> list[str]:
        """Names of the blocks."""
        return self._store.keys()

    def __contains__(self, key: object) -> bool:
        return key in self._store

    @property
    def audio_root(self) -> Path | None:
        """The folder that ``file`` is relative to; None where nobody said."""
        file = self.path / ROOT_FILE
        if not file.exists():
            return None
        try:
            root = json.loads(file.read_text(encoding="utf-8"))["audio_root"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: cannot be read ({brief(error)}); remove it") from error
        place = place_of(root)
        if isinstance(place, Address):
            return place
        return Path(os.path.normpath(self.path.resolve() / root))

    def audio_path(self, file: str) -> Path:
        """Where the sound of a row lies.

        Raises:
            UserError: outside `audio_root` (the current folder where that is not known): no store
                puts other sound into a page.
        """
        root = Path() if self.audio_root is None else self.audio_root
        if not Path(os.path.abspath(root / file)).is_relative_to(os.path.abspath(root)):
            raise UserError(
                f"{self.path}: names the recording {file}, which lies outside {root.absolute()}; "
                "make the store with --audio-root DIR, a folder above it"
            )
        return root / file

    def _keep_root(self, root: Path) -> None:
        known = self.audio_root
        if known is not None and known.resolve() != root.resolve():
            raise UserError(
                f"{self.path}: its files are relative to {known}, not to {root}; give "
                "recordings below that folder, or another store"
            )
        if known is None:
            # Relative, so that both can move together.
            relative = str(root)
            if not isinstance(root, Address):
                relative = os.path.relpath(root.resolve(), self.path.resolve())
            write_text(self.path / ROOT_FILE, json.dumps({"audio_root": relative}) + "\n")

    @contextmanager
    def writer(self) -> Iterator["VectorWriter"]:
        """Adds blocks; what is whole is kept, however it ends. One for each thread."""
        with self._store.writer() as writer:
            yield VectorWriter(writer, self.facts)
        self._read = None

    def ingest(self, vectors: np.ndarray, index: pd.DataFrame, *, known: bool = False) -> int:
        """Add ready vectors (N, D) with their index; how many were new.

        Rows whose file, start and end the store has are left out, so that the same table can be
        given twice.

        Args:
            vectors: any float type; (N, D).
            index: ``file`` and any of the other columns.
            known: the rows are known to be new.

        Raises:
            UserError: another width, a NaN (naming the row), or tables of different lengths.
        """
        index = complete_index(index)
        if len(vectors) != len(index):
            raise UserError(
                f"{counted(len(vectors), 'vector')}, but {counted(len(index), 'row')} of index"
            )
        if not known and len(self.index):
            new_N = ~_rows_of(index).isin(_rows_of(self.index))
            vectors, index = np.asarray(vectors)[new_N], index.loc[new_N]
        with self.writer() as writer:
            for start in range(0, len(index), BLOCK_ROWS):
                part = slice(start, start + BLOCK_ROWS)
                writer.add(None, vectors[part], index.iloc[part])
        return len(index)

    def _loaded(self) -> tuple[Vectors, pd.DataFrame]:
        if self._read is None:
            self._read = self._load()
        return self._read

    def _load(self) -> tuple[Vectors, pd.DataFrame]:
        self._store.check_shards()
        table = self._store.table()
        if not len(table):
            empty = complete_index(pd.DataFrame({"file": []}))
            return Vectors([], self.facts.embedding_dim), empty.astype(_categories())
        order = np.lexsort([table["row"].to_numpy(), table["added_ns"].to_numpy()])
        table = table.take(pa.array(order))
        keys = table["key"].to_pandas()
        # Two writers may have added the same block.
        table = table.filter(pa.array(~keys.duplicated().to_numpy()))
        return Vectors(self._views(table), self.facts.embedding_dim), _flat_index(table)

    def _views(self, table: pa.Table) -> list[np.ndarray]:
        """Memory-mapped rows of the blocks, neighbours of one shard as one piece."""
        views: list[np.ndarray] = []
        last: tuple[str, int] | None = None
        places = zip(
            *(table[name].to_pylist() for name in ("key", "shard", "row", "rows")), strict=True
        )
        pieces: list[tuple[str, int, int]] = []
        for _, shard, row, rows in places:
            if last == (shard, row):
                pieces[-1] = (shard, pieces[-1][1], row + rows)
            else:
                pieces.append((shard, row, row + rows))
            last = (shard, row + rows)
        for shard, first, stop in pieces:
            views.append(self._store.rows(shard, first, stop).numpy())
        return views


class VectorWriter:
    """Adds blocks of vectors; from `VectorStore.writer`."""

    def __init__(self, writer: StoreWriter, facts: EncoderFacts) -> None:
        self._writer = writer
        self._facts = facts

    def add(self, key: str | None, vectors: np.ndarray | torch.Tensor, index: Columns) -> None:
        """Add one block: vectors (n, D) and their rows of the index.

        Args:
            key: its name; None: made of what the rows are, so that the same block twice is one.
            vectors: (n, D).
            index: ``file`` and any of the other columns, n rows.

        Raises:
            UserError: another width, a NaN, or another number of rows.
        """
        columns = complete_columns(index)
        files = columns["file"]
        if vectors.ndim != 2 or vectors.shape[1] != self._facts.embedding_dim:
            raise UserError(
                f"{files[0] if len(files) else 'the vectors'}: vectors of shape "
                f"{tuple(vectors.shape)}, where the store holds (rows, "
                f"{self._facts.embedding_dim}) of the encoder {self._facts.encoder}"
            )
        if len(vectors) != len(files):
            raise UserError(
                f"{counted(len(vectors), 'vector')}, but {counted(len(files), 'row')} of files"
            )
        if not len(files):
            return
        half = to_half(torch.as_tensor(vectors), _RowNames(columns))
        key = block_key(columns) if key is None else key
        self._writer.add(key, half, {**columns, "added_ns": time.time_ns()})

    def commit(self) -> None:
        """Put what was added on the disk now."""
        self._writer.commit()


class _RowNames(Sequence[str]):
    """What rows are called in an error, made only when there is one."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns["file"])

    def __getitem__(self, row: Any) -> Any:
        start_s = self._columns["start_s"][row]
        return f"{self._columns['file'][row]} at {start_s:g} s (row {row + 1})"


def load(path: str | os.PathLike[str]) -> tuple[Vectors, pd.DataFrame]:
    """Vectors (N, D) and index of a store that is there."""
    store = VectorStore.open(path)
    return store.vectors, store.index


def complete_columns(index: Columns) -> dict[str, Any]:
    """`INDEX_COLUMNS` of ``index``: times as float64, texts as lists of str.

    Unknown texts are "" and unknown times 0 and NaN; of a ``date`` with a time the day is kept.

    Raises:
        UserError: it has no ``file``, or a column of another length (naming it).
    """
    if "file" not in index:
        raise UserError("the index of vectors needs a column `file`")
    rows = len(index["file"])
    columns: dict[str, Any] = {}
    for name in INDEX_COLUMNS:
        if name not in index:
            unknown = 0.0 if name == "start_s" else np.nan
            columns[name] = [""] * rows if name in TEXTS else np.full(rows, unknown)
            continue
        given: Any = index[name]
        if name in SECONDS:
            values = np.asarray(given, np.float64)
        else:
            values = np.asarray(given) if hasattr(given, "dtype") else np.array(given, object)
            if values.dtype.kind == "M":
                values = values.astype("datetime64[s]")  # finer ones become numbers as objects
            values = values.astype(object)
            values[pd.isna(values)] = ""
        if values.shape != (rows,):
            raise UserError(
                f"the index of vectors has {rows} rows of `file`, but `{name}` is of shape "
                f"{values.shape}"
            )
        columns[name] = values if name in SECONDS else [str(value) for value in values.tolist()]
    columns["date"] = [TIMESTAMP.sub(r"\1", date) if date else "" for date in columns["date"]]
    return columns


def complete_index(index: Columns) -> pd.DataFrame:
    """`complete_columns` as a table."""
    return pd.DataFrame(complete_columns(index))


def block_key(columns: Mapping[str, Any]) -> str:
    """Name of a block: a hash of its files and times."""
    digest = hashlib.sha256("\n".join(columns["file"]).encode())
    for name in SECONDS:
        digest.update(np.asarray(columns[name], np.float64).tobytes())
    return digest.hexdigest()[:32]


def _rows_of(index: pd.DataFrame) -> pd.MultiIndex:
    times = [np.round(index[name].to_numpy(np.float64), 6) for name in SECONDS]
    return pd.MultiIndex.from_arrays(
        [index["file"].astype(str), times[0], np.nan_to_num(times[1], nan=-1.0)]
    )


def _flat_index(table: pa.Table) -> pd.DataFrame:
    columns = {}
    for name in INDEX_COLUMNS:
        flat: Any = table[name].combine_chunks().flatten()
        columns[name] = flat if name in SECONDS else flat.dictionary_encode()
    return pa.table(columns).to_pandas()


def _categories() -> dict[str, str]:
    return dict.fromkeys(TEXTS, "category")


def _facts_text(settings: Mapping[str, Any], names: Sequence[str]) -> str:
    short = [name for name in names if name != "front_end"] or ["front_end"]
    return ", ".join(f"{name} {settings.get(name)}" for name in short)
