"""Files that lie elsewhere, on the disk while they are read: fetched into a folder with a limit."""

import hashlib
import os
import re
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from g5.common.atomic import atomic_path, hold_file
from g5.common.elsewhere import archives, remote
from g5.common.elsewhere.places import Address, in_archive, place_of
from g5.common.errors import UserError, brief
from g5.common.machine import need_room

_SUFFIX = re.compile(r"\.\w{1,8}")


@dataclass(frozen=True)
class Cache:
    """Where what is fetched lies.

    Attributes:
        folder: of nothing else.
        most_bytes: what was not read for longest goes first.
    """

    folder: Path
    most_bytes: float


_cache: Cache | None = None
# What was first seen at each address: it must not change while a job goes on.
_seen: dict[str, tuple[int | None, str]] = {}
_names: dict[str, str] = {}
# Addresses that the user has typed: what a file names is not fetched.
_typed: set[str] = set()
_locks: dict[str, threading.Lock] = defaultdict(threading.Lock)


def use(cache: Cache) -> None:
    """From now on, keep what is fetched there."""
    global _cache
    _cache = cache


def cache() -> Cache:
    """Where what is fetched is kept; where nobody has said it, as in a Python session, for now."""
    return _cache or Cache(Path(tempfile.gettempdir()) / "g5-fetched", 10e9)


def is_set() -> bool:
    """Whether somebody has said where."""
    return _cache is not None


def allow(*typed: str) -> None:
    """What lies at or below these addresses may be fetched: the user has typed them."""
    _typed.update(typed)


def allowed() -> list[str]:
    """What may be fetched."""
    return sorted(_typed)


def name_of(path: str | os.PathLike[str]) -> str:
    """What the user calls a file that may have been fetched."""
    return _names.get(str(path), str(path))


@contextmanager
def local(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file on the disk with the content of ``path``, which stays there meanwhile.

    What is raised inside names the place that the user knows.

    Raises:
        UserError: it is not there, cannot be fetched or has changed.
    """
    place = place_of(path)
    if not isinstance(place, Address) and (place.exists() or in_archive(place) is None):
        yield place
        return
    with _held(place) as file:
        try:
            yield file
        except UserError as error:
            error.args = tuple(str(text).replace(str(file), str(place)) for text in error.args)
            raise


def check_regular(path: Path) -> None:
    """Raise `UserError` for a pipe or a device, which would be waited for, or never ends."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path}: is no regular file but a pipe or a device; remove it")


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file's bytes; of one at an address only what is read of it is fetched."""
    place = place_of(path)
    if isinstance(place, Address) and in_archive(place) is None:
        _seen_at(place)
        if (head := remote.head(place)) is not None:
            with head as handle:
                try:
                    yield handle
                except (UserError, OSError):
                    raise
                except Exception as error:  # of the network, whatever the package calls it
                    raise UserError(f"{place}: cannot be read ({brief(error)})") from error
            return
    with local(place) as file:
        check_regular(file)
        with open(file, "rb") as handle:
            yield handle


def stamp(place: Path) -> tuple[int, str]:
    """The size of a file that lies elsewhere (0: not known), and what changes with it."""
    if (inside := in_archive(place)) is not None and inside[1]:
        size, told = stamp(inside[0])
        return size, f"{told} {inside[1]}"
    if isinstance(place, Address):
        size, told = _seen_at(place)
        return size or 0, told
    status = place.stat()
    return status.st_size, f"{status.st_size} {status.st_mtime_ns}"


def _seen_at(address: Address) -> tuple[int | None, str]:
    """What was seen there first."""
    text = str(address)
    if not any(text == own or text.startswith(own.rstrip("/") + "/") for own in _typed):
        raise UserError(
            f"{address}: is not fetched, as a file names it and you have not; copy it, or give its "
            "folder as recordings"
        )
    if text not in _seen:
        _seen[text] = remote.identity(address)
    return _seen[text]


@contextmanager
def _held(place: Path) -> Iterator[Path]:
    """A file in the cache, which nobody removes meanwhile."""
    while True:
        with _locks[str(place)]:
            file = _brought(place)
        try:
            handle = open(file, "rb")  # noqa: SIM115  closed below
        except FileNotFoundError:  # somebody else has made room
            continue
        break
    with handle:
        hold_file(handle, shared=True)
        os.utime(file)
        yield file


def _brought(place: Path) -> Path:
    """Where its content lies, fetched if it does not yet."""
    size, told = stamp(place)
    key = hashlib.sha256(f"{place}\n{told}".encode()).hexdigest()[:32]
    file = cache().folder / (key + (place.suffix if _SUFFIX.fullmatch(place.suffix) else ""))
    _names[str(file)] = str(place)
    if file.is_file():
        return file
    inside = in_archive(place)
    if inside is not None and inside[1]:
        _unpack(*inside, place, file)
    else:
        assert isinstance(place, Address)
        _fetch(place, size, file)
    _make_room(file.stat().st_size, file)
    return file


def _unpack(archive: Path, name: str, place: Path, file: Path) -> None:
    with local(archive) as there:
        info = archives.members(there, archive).get(name)
        if info is None:
            raise UserError(f"{place}: {archive.name} holds no such file")
        _make_room(info.file_size, place)
        with atomic_path(file) as temporary, open(temporary, "wb") as out:
            archives.extract(there, archive, info, out)


def _fetch(address: Address, size: int, file: Path) -> None:
    _make_room(size, address)
    for _ in range(remote.TRIES):
        known = _seen_at(address)
        try:
            with atomic_path(file) as temporary, open(temporary, "wb+") as out:
                remote.fetch(address, known[0], out, cache().most_bytes)
                now = remote.identity(address)
                if now != known:
                    raise remote.Changed("")
            return
        except remote.Changed:
            if remote.identity(address) != known:
                raise UserError(
                    f"{address}: has changed while it was read; run again when nothing is "
                    "written there"
                ) from None
    raise UserError(f"{address}: fewer bytes come than the server says; run again")


def _make_room(size: float, place: Path) -> None:
    """Remove what was not read for longest until ``size`` bytes more fit, if that is possible.

    ``place`` is what they are for, and stays if it is there.
    """
    most = cache().most_bytes
    if size > most:
        raise remote.too_large(place, size, most)
    cache().folder.mkdir(parents=True, exist_ok=True)
    if size:
        need_room(cache().folder, int(size), str(place))
    files = []
    for entry in os.scandir(cache().folder):
        with suppress(FileNotFoundError):  # removed meanwhile
            if not entry.name.startswith(".") and entry.path != str(place):
                files.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
    total = sum(own for _, own, _ in files)
    for _, own, path in sorted(files):
        if total + size <= most:
            return
        if _remove(path):
            total -= own


def _remove(path: str) -> bool:
    """Whether a file was not in use, and is removed."""
    try:
        with open(path, "rb") as handle:
            if hold_file(handle) is False:
                return False
            os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
