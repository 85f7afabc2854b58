"""Files appear whole or not at all: written beside their place, then moved onto it."""

import errno
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from g5.common.errors import CLOSED, FULL, DiskError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# The machine, of whose processes it is known whether they live.
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_TEMPORARY = re.compile(rf"\..+\.(\d+)@{_HOST}\.tmp(\.[^.]*)?(-journal)?")
_swept: set[tuple[int, Path]] = set()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden place into a `DiskError` that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskError(f"{path}: the disk is full; free some space and run again") from error
        if error.errno in CLOSED:
            raise DiskError(f"{path}: cannot write here ({error.strerror})") from error
        where = error.filename or path
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise DiskError(f"{where}: a file is in the way of this folder; move it") from error
        if error.errno in (errno.EISDIR, errno.ENOENT):
            raise DiskError(f"{where}: {error.strerror}") from error
        raise


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Of all processes in such a block for this file, one goes on and the others wait."""
    with open(lock, "w", encoding="utf-8") as handle:
        lock_file(handle, wait=True)
        yield


def lock_file(handle: IO[str], *, wait: bool) -> bool:
    """Whether ``handle``'s file is now this process's own."""
    if fcntl is None:
        return True
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        # Some network file systems have no locks: then nothing is guarded.
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def hold_file(handle: IO[Any], *, shared: bool = False) -> bool | None:
    """Whether an open file is its opener's alone until it is closed; None: nobody can tell here.

    Unlike `lock_file`, it lasts while a forked process has it open, and keeps out other openers of
    the same process. With ``shared`` it waits, and only who wants it alone is kept out.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EACCES) else None
    return True


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, else it is removed.

    The temporary name keeps the suffix, because writers choose their format by it. The data
    are on the disk before the name is, so that a power cut cannot leave an empty whole.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}@{_HOST}.tmp{path.suffix}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent.resolve())
        try:
            yield temporary
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text in UTF-8, whole or not at all; the path."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | os.PathLike[str], plain: Any, *, default: Any = None) -> Path:
    """Write plain values for scripts and people, whole or not at all; the path.

    ``default`` makes other values plain.
    """
    text = json.dumps(plain, indent=2, ensure_ascii=False, default=default)
    return write_text(path, text + "\n")


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed here left, once for each folder in a process."""
    if (os.getpid(), folder) in _swept:
        return
    _swept.add((os.getpid(), folder))
    for entry in os.scandir(folder):
        found = _TEMPORARY.fullmatch(entry.name)
        if found and not _lives(int(found[1])):
            Path(entry.path).unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
