"""The one store: named fp16 arrays on disk, memory-mapped, indexed by Parquet, only ever added to.

Layout of a store, one folder per settings::

    <root>/<hash of the settings>/settings.json
                                  <shard>.f16       arrays one after another, rows x width, fp16
                                  <shard>.parquet   what lies where in that shard; written last

A shard counts from the moment its index part is there, so a writer may be killed at any point,
and any number of writers may work at once: each makes shards of its own. The same key twice does
no harm. Nothing here knows what the arrays mean.
"""

import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch

from g5.common import sealed
from g5.common.atomic import disk_errors
from g5.common.errors import DiskError, UserError
from g5.common.progress import track
from preprocessing.store.settings import (
    SETTINGS_FILE,
    canonical,
    check_there,
    differences,
    is_foreign,
    no_store,
    read_settings,
    settings_hash,
    write_settings,
)
from preprocessing.store.shards import (
    INDEX_COLUMNS,
    Array,
    Fault,
    MetaValue,
    content_fault,
    index_parts,
    read_part,
    remove_abandoned,
    shard_facts,
    with_facts,
)
from preprocessing.store.writer import StoreWriter


@dataclass(frozen=True)
class _ShardFacts:
    width: int
    rows: int
    mtime_ns: int


# Of an array: its shard, first row and number of rows.
_Place = tuple[str, int, int]


class Store:
    """Arrays (rows, width) by name, for one setting of whatever made them; open with `open`.

    Reading is safe from any number of threads and processes. A `Store` sees what had been
    written when it was opened, and what its own writers wrote since.

    Attributes:
        path: the folder.
        settings: what its arrays depend on.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], command: str) -> None:
        self.path = path
        self.settings = settings
        self._command = command
        # Of whoever changes what is known; readers see what was known before, or after.
        self._lock = threading.RLock()
        self._load()

    @classmethod
    def open(
        cls,
        root: str | os.PathLike[str],
        settings: Mapping[str, Any],
        *,
        create: bool,
        command: str = "g5 features",
    ) -> "Store":
        """Open the store of these settings under ``root``, or ``root`` itself where it is one.

        Args:
            root: folder of stores, or one store.
            settings: plain values that JSON can hold; the folder is named by their hash.
            create: make an empty store where there is none.
            command: what makes the arrays, for error messages; with ``--check`` it verifies.

        Raises:
            UserError: there is none and ``create`` is false; it was made with other settings
                (and which); the folder cannot be read or written.
        """
        root = Path(root)
        if root.is_file():
            raise UserError(f"{root}: is a file; a folder is needed for the store")
        settings = json.loads(canonical(settings))
        path = root if (root / SETTINGS_FILE).is_file() else root / settings_hash(settings)
        if not (path / SETTINGS_FILE).is_file():
            if not create:
                raise UserError(no_store(root, settings, command))
            write_settings(path, settings)
        there = read_settings(path)
        if there != settings:
            raise UserError(
                f"{path}: was made with other settings ({differences(there, settings)}); "
                f"open the right one, or make it with `{command}`"
            )
        return cls(path, settings, command)

    @classmethod
    def at(
        cls,
        path: str | os.PathLike[str],
        settings: Mapping[str, Any] | None = None,
        *,
        command: str,
    ) -> "Store":
        """Open the store that is the folder ``path`` itself, whatever its settings.

        Args:
            path: the store.
            settings: make it with these where there is none yet; None: it must be there. Those of
                one that is there are the caller's to compare.
            command: what makes the arrays, for error messages.

        Raises:
            UserError: there is none, or ``path`` is a file or a folder of something else.
        """
        path = Path(path)
        if settings is None or path.is_file():
            check_there(path, command)
        elif not (path / SETTINGS_FILE).is_file():
            if path.is_dir() and any(is_foreign(name) for name in os.listdir(path)):
                raise UserError(f"{path}: is a folder of something else; name another for a store")
            write_settings(path, json.loads(canonical(settings)))
        return cls(path, read_settings(path), command)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: object) -> bool:
        return key in self._index

    def keys(self) -> list[str]:
        """Names of all arrays."""
        return list(self._index)

    def get(self, key: str) -> torch.Tensor:
        """The array of that name, (rows, width) fp16: a view of the memory map, not a copy.

        Writing to it changes neither the file nor what other processes read.

        Raises:
            UserError: there is none of that name, or its shard is missing, truncated or changed.
        """
        try:
            shard, row, rows = self._index[key]
        except KeyError:
            raise UserError(
                f"{self.path}: holds nothing of the name {key}; run `{self._command}`"
            ) from None
        return self.rows(shard, row, row + rows)

    def take(self, key: str) -> torch.Tensor | None:
        """`get`, for who can make the array anew: None if it is not there, or is corrupt.

        What is corrupt in its shard is told and dropped; what is whole there stays.

        Raises:
            DiskError: the disk does not let its shard be read, or what is corrupt be dropped.
        """
        if key not in self._index:
            return None
        try:
            return self.get(key)
        except UserError as error:
            entry = self._index.get(key)
            if entry is not None:  # else another thread has dropped it since
                self.drop_corrupt(list(self._shard_faults(entry[0])))
            kept = key in self._index
            what = str(error).removesuffix(f"; {self._repair()}")
            after = "what is corrupt there is dropped" if kept else "it is made again"
            print(f"note: {what}; {after}", file=sys.stderr)
            return self.get(key) if kept else None

    def rows(self, shard: str, start: int, stop: int) -> torch.Tensor:
        """Rows of a shard as `table` numbers them: a view of the memory map, not a copy."""
        array = self._maps.get(shard)
        if array is None:
            array = self._map(shard)
        return array[start:stop]

    @property
    def meta(self) -> pd.DataFrame:
        """One row per key: ``key, shard, row, rows, checksum`` and what was added as meta."""
        with self._lock:
            if self._meta is None:
                self._meta = self._read_meta()
            return self._meta

    def _read_meta(self) -> pd.DataFrame:
        return self.table().to_pandas().drop_duplicates("key", ignore_index=True)

    def table(self) -> pa.Table:
        """`meta` as Arrow, before keys that were written twice are dropped."""
        parts = [pa.table({name: [] for name in ["key", "shard", *INDEX_COLUMNS[1:]]})]
        for shard in list(self._shards):
            part = self._part_of(shard, None)
            if part is not None:
                parts.append(part.add_column(1, "shard", pa.array([shard] * len(part))))
            elif (path := self.path / f"{shard}.parquet").exists():
                raise self._corrupt(path)
        return pa.concat_tables(parts, promote_options="permissive")

    def writer(self) -> StoreWriter:
        """A context manager that adds arrays; use one per thread."""
        remove_abandoned(self.path)
        return StoreWriter(self.path, self._register)

    def add(self, key: str, array: Array, meta: Mapping[str, MetaValue] | None = None) -> None:
        """Add one array (rows, width) as a shard of its own; for more than a few see `writer`."""
        with self.writer() as writer:
            writer.add(key, array, meta)

    def check_shards(self, keys: Iterable[str] | None = None) -> None:
        """Make sure that the shards of these keys (None: of all) are there and whole.

        Cheap: it looks at lengths and times, and reads a shard only if it was touched since.

        Raises:
            UserError: naming the first that is not.
        """
        keys = self._index if keys is None else keys
        for shard in dict.fromkeys(self._index[key][0] for key in keys if key in self._index):
            if shard not in self._maps:
                self._map(shard)
        for shard in self._unreadable:
            raise self._corrupt(self.path / f"{shard}.parquet")

    def _corrupt(self, part: Path) -> UserError:
        return UserError(f"{part}: cannot be read, it is corrupt; {self._repair()}")

    def mend_index(self) -> "Store":
        """Drop shards whose index part is corrupt, for who makes their arrays anew; the store."""
        faults = [fault for shard in self._unreadable for fault in self._shard_faults(shard)]
        if faults:
            self.drop_corrupt(faults)
            names = ", ".join(fault.shard for fault in faults)
            print(
                f"note: {self.path}: corrupt index parts are dropped, and what they held is made "
                f"again: {names}",
                file=sys.stderr,
            )
        return self

    def verify(self) -> list[str]:
        """Read everything; say what is missing, truncated, altered or not finite, a line each."""
        return [str(fault) for fault in self.faults()]

    def faults(self) -> list[Fault]:
        """What `verify` says, with the keys; ``key`` is None where an index part is unreadable."""
        shards = [path.stem for path in index_parts(self.path)]
        return [
            fault
            for shard in track(shards, total=len(shards), label="checking", unit="shards")
            for fault in self._shard_faults(shard)
        ]

    def drop_corrupt(self, faults: Sequence[Fault] | None = None) -> list[str]:
        """Forget the arrays that `faults` finds, so that they can be made again; their keys.

        Raises:
            UserError: the folder cannot be written.
        """
        faults = self.faults() if faults is None else faults
        with self._lock:
            for shard in dict.fromkeys(fault.shard for fault in faults):
                self._drop(shard, {fault.key for fault in faults if fault.shard == shard})
            self._load()
        return sorted({fault.key for fault in faults if fault.key is not None})

    def _drop(self, shard: str, keys: set[str | None]) -> None:
        """Write a shard's index part anew without these keys; None: none of it can be kept."""
        array_path, part_path = self.path / f"{shard}.f16", self.path / f"{shard}.parquet"
        part = None if None in keys else self._part_of(shard, None)
        keep = [] if part is None else [key not in keys for key in part["key"].to_pylist()]
        if part is None or not any(keep):
            with disk_errors(part_path):
                part_path.unlink(missing_ok=True)
                array_path.unlink(missing_ok=True)
            return
        width, _ = shard_facts(part)
        kept = with_facts(part.filter(pa.array(keep)), width, array_path.stat().st_mtime_ns)
        sealed.write_table(kept, part_path)

    def _load(self) -> None:
        """Read the index parts that are there now; readers go on with the earlier until then."""
        shards: dict[str, _ShardFacts] = {}
        index: dict[str, _Place] = {}
        unreadable: list[str] = []
        with self._lock:
            for path in index_parts(self.path):
                part = read_part(path, ["key", "row", "rows"])
                if part is not None:
                    _enter(path.stem, part, shards, index)
                elif path.exists():
                    unreadable.append(path.stem)
            self._meta: pd.DataFrame | None = None
            self._unreadable, self._shards, self._index = unreadable, shards, index
            self._maps: dict[str, torch.Tensor] = {}

    def _register(self, shard: str, part: pa.Table) -> None:
        """Make the arrays of an index part known."""
        with self._lock:
            self._meta = None
            _enter(shard, part, self._shards, self._index)

    def _map(self, shard: str) -> torch.Tensor:
        """The memory map of a shard (rows, width), once it is sure to be what was written."""
        path, maps, facts = self.path / f"{shard}.f16", self._maps, self._shards.get(shard)
        if facts is None:  # another thread has dropped it since it was looked up
            raise UserError(f"{path}: was corrupt, and is dropped; make it again")
        try:
            with open(path, "rb") as handle:
                status = os.fstat(handle.fileno())
        except FileNotFoundError as error:
            raise UserError(f"{path}: is missing ({error.strerror}); {self._repair()}") from error
        except OSError as error:
            raise _unread(path, error) from error
        size = facts.rows * facts.width * 2
        if status.st_size < size:
            raise UserError(
                f"{path}: is truncated to {status.st_size:,} of {size:,} bytes; {self._repair()}"
            )
        if status.st_mtime_ns != facts.mtime_ns:
            # Copied, or tampered with: the checksums tell.
            for fault in self._shard_faults(shard):
                raise UserError(f"{path}: {fault.what}; {self._repair()}")
        # A private map: an accidental write neither changes the file nor ends the process.
        flat = torch.from_file(str(path), shared=False, size=size // 2, dtype=torch.float16)
        maps[shard] = flat.view(facts.rows, facts.width)
        return maps[shard]

    def _shard_faults(self, shard: str) -> Iterator[Fault]:
        """The arrays of a shard that are not what was written.

        Raises:
            DiskError: it cannot be told, the disk does not let the shard be read.
        """
        part = self._part_of(shard, None)
        if part is None:
            yield Fault(shard, None, "its index part cannot be read")
            return
        size = 2 * shard_facts(part)[0]
        path = self.path / f"{shard}.f16"
        try:
            with open(path, "rb") as handle:
                for entry in part.select(INDEX_COLUMNS).to_pylist():
                    handle.seek(entry["row"] * size)
                    content = handle.read(entry["rows"] * size)
                    what = content_fault(content, entry["rows"] * size, entry["checksum"])
                    if what:
                        yield Fault(shard, entry["key"], what)
        except FileNotFoundError as error:
            for key in part["key"].to_pylist():
                yield Fault(shard, key, f"is missing ({error.strerror})")
        except OSError as error:
            raise _unread(path, error) from error

    def _part_of(self, shard: str, columns: list[str] | None) -> pa.Table | None:
        """The index part of a shard; None if it is missing or corrupt.

        Raises:
            DiskError: it may be whole, but the disk does not let it be read.
        """
        path = self.path / f"{shard}.parquet"
        part = read_part(path, columns)
        if part is None:
            try:
                path.read_bytes()
            except FileNotFoundError:
                return None
            except OSError as error:
                raise _unread(path, error) from error
        return part

    def _repair(self) -> str:
        return f"run `{self._command} --check`, which drops what is corrupt, then make it again"

    def __getstate__(self) -> dict[str, Any]:
        # A map travels to another process as its path.
        return {"path": self.path, "settings": self.settings, "command": self._command}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)


def _enter(
    shard: str, part: pa.Table, shards: dict[str, _ShardFacts], index: dict[str, _Place]
) -> None:
    """Add a shard and the arrays of its index part to what is known."""
    rows, lengths = part["row"].to_pylist(), part["rows"].to_pylist()
    width, mtime_ns = shard_facts(part)
    end = max(row + length for row, length in zip(rows, lengths, strict=True))
    shards[shard] = _ShardFacts(width, end, mtime_ns)
    for key, row, length in zip(part["key"].to_pylist(), rows, lengths, strict=True):
        index.setdefault(key, (shard, row, length))


def _unread(path: Path, error: OSError) -> DiskError:
    """What lies there may be whole, and is not dropped."""
    return DiskError(
        f"{path}: cannot be read ({error.strerror or error}); look after the disk, and run again"
    )
