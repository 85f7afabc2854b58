"""Zip archives that nobody has looked into: their members, none of which leaves its folder."""

import os
import shutil
import stat
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO

from g5.common.errors import UserError

BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError,
)  # fmt: skip
# No compression of sound is better than this, but of silence: a bomb is.
MOST_SQUEEZED, SMALL_BYTES = 200, 1 << 30
_opening = threading.Lock()


def refuse_unsafe(archive: Path, info: zipfile.ZipInfo) -> None:
    """Raise `UserError` for a member that lies outside, is a link or is encrypted."""
    name = info.filename
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in name or not parts:
        raise UserError(f"{archive}: holds {name!r}, which lies outside; it is not unpacked")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UserError(f"{archive}: holds the link {name!r}; it is not unpacked")
    if info.flag_bits & 1:
        raise UserError(f"{archive}: {name!r} is encrypted; it is not unpacked")


def members(archive: Path, named: Path) -> dict[str, zipfile.ZipInfo]:
    """The files in an archive, by name.

    Args:
        archive: the file on the disk.
        named: what the user calls it.

    Raises:
        UserError: it is damaged, or one of them is not to be trusted.
    """
    with _broken(named):
        bundle = _bundle(str(archive), archive.stat().st_mtime_ns, os.getpid())
    found = {}
    for info in bundle.infolist():
        if not info.is_dir():
            refuse_unsafe(named, info)
            found[info.filename] = info
    whole, size = sum(info.file_size for info in found.values()), archive.stat().st_size
    if whole > max(SMALL_BYTES, MOST_SQUEEZED * size):
        raise UserError(
            f"{named}: says that it unpacks from {size / 1e6:,.1f} MB to {whole / 1e9:,.1f} GB, as "
            "no sound does; it is not read"
        )
    return found


def extract(archive: Path, named: Path, info: zipfile.ZipInfo, out: IO[bytes]) -> None:
    """Write a member's bytes.

    Raises:
        UserError: it is damaged.
    """
    with _broken(named / info.filename):
        bundle = _bundle(str(archive), archive.stat().st_mtime_ns, os.getpid())
        with bundle.open(info) as source:
            shutil.copyfileobj(source, out, 1 << 20)


@lru_cache(maxsize=8)
def _opened(archive: str, mtime_ns: int, process: int) -> zipfile.ZipFile:
    del mtime_ns, process  # a changed file is another, and processes share no place in it
    return zipfile.ZipFile(archive)


def _bundle(archive: str, mtime_ns: int, process: int) -> zipfile.ZipFile:
    with _opening:  # its directory, which may be long, is read once
        return _opened(archive, mtime_ns, process)


@contextmanager
def _broken(named: Path) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise UserError(f"{named}: is damaged ({error}); copy it again") from error
    except OSError as error:
        if error.errno != 22:  # a place before the file's begin
            raise
        raise UserError(f"{named}: is no whole zip archive; copy it again") from error
