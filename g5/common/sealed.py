"""Files that carry their own checksum: a bad byte is told, and never read as something else."""

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from g5.common.atomic import atomic_path

SEAL = b"g5.sha256"
_OPEN = b"sha256:" + b"0" * 64  # where the checksum of a table goes once the rest is known


class Damaged(ValueError):
    """A file is not what was written."""


def write_table(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write a table as Parquet with a checksum over every byte, whole or not at all."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({SEAL.decode(): _OPEN.decode()})
    content = sink.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.replace(_OPEN, _seal_of(content)))


def read_table(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """A table, verified; one that an earlier g5 wrote has only the checksums of its pages.

    Raises:
        Damaged: it is not what was written, or lacks a column.
    """
    content = Path(path).read_bytes()
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        facts = file.metadata.metadata or {}
        seal = facts.get(SEAL)
        renamed = seal is None and any(fact.startswith(_OPEN[:7]) for fact in facts.values())
        if renamed or (seal is not None and _seal_of(content.replace(seal, _OPEN)) != seal):
            raise Damaged(f"{path}: its checksum differs")
        table = file.read(columns=columns and list(columns), use_threads=False)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise Damaged(f"{path}: cannot be read") from error
    if lacking := set(columns or ()) - set(table.column_names):
        raise Damaged(f"{path}: lacks {', '.join(sorted(lacking))}")
    own = {key: value for key, value in (table.schema.metadata or {}).items() if key != SEAL}
    return table.replace_schema_metadata(own)


def _seal_of(content: bytes) -> bytes:
    return b"sha256:" + hashlib.sha256(content).hexdigest().encode()


def pack(path: str | os.PathLike[str], parts: Mapping[str, bytes]) -> None:
    """Write named contents as one file, whole or not at all; each has its checksum."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in parts.items():
            # Without the time of day: the same contents are the same bytes.
            archive.writestr(zipfile.ZipInfo(name), content)


def unpack(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """What `pack` wrote, verified.

    Raises:
        Damaged: it is not what was written.
    """
    content = Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Damaged(f"{path}: {error}") from error


def seal(path: str | os.PathLike[str]) -> None:
    """Put a checksum over every byte behind a file of a library's that reads no further."""
    with open(path, "ab+") as handle:
        handle.seek(0)
        digest = hashlib.file_digest(handle, "sha256").digest()
        handle.write(SEAL + digest)


def is_whole(path: str | os.PathLike[str]) -> bool:
    """Whether a file is as `seal` left it."""
    tail = len(SEAL) + hashlib.sha256().digest_size
    left = os.path.getsize(path) - tail
    if left < 0:
        return False
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while left and (block := handle.read(min(left, 2**20))):
            digest.update(block)
            left -= len(block)
        return handle.read() == SEAL + digest.digest()
