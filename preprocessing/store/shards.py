"""One shard of the store: rows in a file, its index part beside it, and what may be wrong there.

A shard counts from the moment its index part is there, which is written last. Width and the time of
the last change stand in the index part, and a checksum for every array.
"""

import contextlib
import math
import os
import time
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from g5.common import sealed
from g5.common.atomic import disk_errors, hold_file
from g5.common.errors import UserError

# What a writer left that died is removed by a later writer when it is this old.
ABANDONED_S = 60.0
INDEX_COLUMNS = ["key", "row", "rows", "checksum"]

Array = np.ndarray | torch.Tensor
MetaValue = str | int | float | np.ndarray


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a store: a shard, or one array in it."""

    shard: str
    key: str | None
    what: str

    def __str__(self) -> str:
        return f"{self.shard}.f16: {self.what}" + (f" (key {self.key})" if self.key else "")


class NotStorable(UserError):
    """A value that fp16 does not hold."""


class Shard:
    """A shard being written: its file, locked for as long as its writer lives, and its entries."""

    def __init__(self, folder: Path, width: int) -> None:
        self.name = uuid.uuid4().hex
        self.width = width
        self.rows = 0  # of complete arrays
        self._path = folder / f"{self.name}.f16"
        self._columns: dict[str, list[Any]] = {name: [] for name in INDEX_COLUMNS}
        with disk_errors(self._path):
            self._file = open(self._path, "xb", buffering=0)  # noqa: SIM115  closed by commit
            hold_file(self._file)

    def write(self, half: torch.Tensor) -> None:
        """Append rows; they count once an entry says so."""
        rest = half.numpy().data.cast("B")
        with disk_errors(self._path):
            while rest:
                rest = rest[self._file.write(rest) :]

    def add_entry(self, key: str, rows: int, checksum: int, meta: Mapping[str, MetaValue]) -> None:
        """Declare the last ``rows`` rows to be the array ``key``."""
        values = {"key": key, "row": self.rows, "rows": rows, "checksum": checksum, **meta}
        self._extend({name: [value] for name, value in values.items()}, 1)
        self.rows += rows

    def forget_unfinished(self) -> None:
        """Cut off rows that belong to no entry."""
        with contextlib.suppress(OSError):  # what is left over does no harm: no entry names it
            self._file.truncate(self.rows * self.width * 2)
        self._file.seek(self.rows * self.width * 2)

    def commit(self) -> pa.Table | None:
        """Make the shard count: data first, index part last. None, and no file, if it is empty."""
        part_path = self._path.with_suffix(".parquet")
        try:
            if not self.rows:
                return None
            with disk_errors(self._path):
                self._file.truncate(self.rows * self.width * 2)
                os.fsync(self._file.fileno())
            mtime_ns = os.fstat(self._file.fileno()).st_mtime_ns
            part = with_facts(pa.table(self._columns), self.width, mtime_ns)
            sealed.write_table(part, part_path)
            return part
        finally:
            if not part_path.exists():
                self._path.unlink(missing_ok=True)
            self._file.close()

    def _extend(self, values: Mapping[str, list[Any]], count: int) -> None:
        if not self.rows:
            self._columns = {name: [] for name in values}
        assert values.keys() == self._columns.keys(), "meta has the same names for all keys"
        for name, column in values.items():
            assert len(column) == count, f"meta {name} has a value for every key"
            self._columns[name] += column


def to_half(array: Array, keys: str | Sequence[str]) -> torch.Tensor:
    """Convert (rows, width) to contiguous fp16 on the CPU; a value it cannot hold is refused.

    Args:
        array: of floats.
        keys: one of all rows, or one a row.

    Raises:
        NotStorable: naming the key of the first row with NaN or more than 65,504.
    """
    values = torch.as_tensor(array).detach()
    assert values.ndim == 2, f"(rows, width), not {tuple(values.shape)}"
    half = values.to("cpu", torch.float16).contiguous()
    if _all_finite(half):
        return half
    row = int((~half.isfinite()).any(dim=1).nonzero()[0])
    bad = values[row][~half[row].isfinite().to(values.device)][0].item()
    if not isinstance(keys, str):
        keys = keys[row]
    why = "more than fp16 holds (65,504)" if math.isfinite(bad) else "which cannot be stored"
    raise NotStorable(f"{keys}: has a value of {bad:g}, {why}; check what made it")


def _all_finite(half: torch.Tensor) -> bool:
    """Whether no fp16 value has the exponent of NaN and infinity; half the time of isfinite."""
    # A piece at a time stays in the cache, which takes two thirds off.
    pieces = half.view(torch.int16).flatten().split(2**17)
    return all(bool(((piece & 0x7C00) != 0x7C00).all()) for piece in pieces)


def index_parts(folder: Path) -> list[Path]:
    """Index parts, not those being written, in an order that does not change."""
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error
    return sorted(p for p in paths if p.suffix == ".parquet" and not p.name.startswith("."))


def read_part(path: Path, columns: list[str] | None) -> pa.Table | None:
    """An index part; None if it cannot be read, or is not what was written."""
    try:
        part = sealed.read_table(path, columns)
        shard_facts(part)
    except (OSError, KeyError, ValueError):
        return None
    return part


def content_fault(content: bytes, length: int, checksum: int) -> str | None:
    """What is wrong with the bytes of an array, if anything."""
    if len(content) < length:
        return "is truncated"
    if zlib.crc32(content) != checksum:
        return "is corrupt, a checksum differs"
    if not _all_finite(torch.from_numpy(np.frombuffer(content, np.float16).copy())):
        return "has NaN or infinite values"
    return None


def shard_facts(part: pa.Table) -> tuple[int, int]:
    """Width of a shard, and the time of its last change when it was known to be whole, ns."""
    metadata = part.schema.metadata or {}
    return int(metadata[b"width"]), int(metadata[b"mtime_ns"])


def with_facts(part: pa.Table, width: int, mtime_ns: int) -> pa.Table:
    """An index part that says what `shard_facts` reads."""
    return part.replace_schema_metadata({"width": str(width), "mtime_ns": str(mtime_ns)})


def remove_abandoned(folder: Path) -> None:
    """Remove shards without an index part whose writer is dead, and index parts never finished.

    Where that cannot be told (Windows, file systems without locks) they stay.
    """
    if not os.access(folder, os.W_OK):
        return
    for path in folder.iterdir():
        unfinished = path.name.startswith(".") and ".tmp" in path.suffixes
        orphan = path.suffix == ".f16" and not path.with_suffix(".parquet").exists()
        # Another process may remove it first, and another user's may not be ours to remove.
        with contextlib.suppress(OSError):
            if (unfinished or orphan) and time.time() - path.stat().st_mtime > ABANDONED_S:
                with open(path, "rb") as handle:
                    dead = hold_file(handle)
                    # Its writer may have finished between the two looks.
                    if dead and (unfinished or not path.with_suffix(".parquet").exists()):
                        path.unlink()
