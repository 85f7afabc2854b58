"""Which files a folder holds, and which of them are recordings or tables, by their names."""

import os
from collections.abc import Callable
from functools import lru_cache, wraps
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path, PureWindowsPath
from typing import TypeVar

from g5.common.elsewhere import archives, kept, remote
from g5.common.elsewhere.places import ARCHIVE, Address, in_archive, is_elsewhere, place_of
from g5.common.errors import UserError

# Sound that no decoder here reads: it is told of, and left out.
FOREIGN_SUFFIXES = frozenset((
    ".m4a", ".wma", ".aac", ".mp4", ".m4b", ".amr", ".3gp", ".ape", ".wv", ".mka", ".webm", ".ra",
    ".wac", ".w4v", ".spx", ".tta", ".dsf", ".ac3", ".mov", ".mkv", ".avi",
))  # fmt: skip
AUDIO_SUFFIXES = FOREIGN_SUFFIXES | frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".w64",
    ".rf64", ".bw64", ".caf", ".au", ".snd",
))  # fmt: skip
TABLE_SUFFIXES = (".csv", ".txt", ".tsv", ".parquet", ".textgrid")


Known = TypeVar("Known")


def once_per_file(
    most: int,
) -> Callable[[Callable[[str], Known]], Callable[[str | os.PathLike[str]], Known]]:
    """Of a function of a file: called again only where its size or time has changed.

    Args:
        most: files that are remembered.
    """

    def decorate(find: Callable[[str], Known]) -> Callable[[str | os.PathLike[str]], Known]:
        @lru_cache(maxsize=most)
        def found(path: str, size: int, mtime_ns: int) -> Known:
            del size, mtime_ns  # of the file, whose change makes it another
            return find(path)

        @wraps(find)
        def known(path: str | os.PathLike[str]) -> Known:
            status = os.stat(path)
            return found(os.fspath(path), status.st_size, status.st_mtime_ns)

        return known

    return decorate


def is_audio(name: str | os.PathLike[str]) -> bool:
    """Whether the name ends like a sound file's."""
    name = name if isinstance(name, Path) else Path(name)
    return name.suffix.lower() in AUDIO_SUFFIXES


def is_foreign(name: str | os.PathLike[str]) -> bool:
    """Whether the name ends like that of a sound file that cannot be read here."""
    return Path(name).suffix.lower() in FOREIGN_SUFFIXES


def is_table(name: str | os.PathLike[str]) -> bool:
    """Whether the name ends like that of an annotation table."""
    return Path(name).suffix.lower() in TABLE_SUFFIXES


def base_name(name: str) -> str:
    """The last part of a path, of whichever system."""
    return PureWindowsPath(name).name


def walk(root: Path) -> list[Path]:
    """All files under ``root``, sorted; links to folders are followed, hidden names left out.

    ``root`` may be an address, a zip archive or a folder in one, too. A folder that is named like a
    recording or a table, or cannot be entered, is among them, so that whoever opens it says so.
    """
    if isinstance(root, Address) or root.is_file() or is_elsewhere(root):
        return _walk_elsewhere(root)
    files, seen = [], set()

    def closed(error: OSError) -> None:
        files.append(Path(error.filename))

    for folder, folders, names in os.walk(root, followlinks=True, onerror=closed):
        real = os.path.realpath(folder)
        if real in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _hidden(name))
        names += [name for name in folders if is_audio(name) or is_table(name)]
        files.extend(Path(folder, name) for name in names if not _hidden(name))
    return sorted(files)


def _walk_elsewhere(root: Path) -> list[Path]:
    """All files at an address or in an archive, sorted, hidden names left out."""
    if (inside := in_archive(root)) is None:
        files = remote.listing(root) if isinstance(root, Address) else []
    else:
        archive, below = inside
        with kept.local(archive) as there:
            names = archives.members(there, archive)
        below = f"{below}/" if below else ""
        files = sorted(archive / name for name in names if name.startswith(below))
    depth = len(list(takewhile(lambda part: not remote.is_pattern(part), root.parts)))
    return [file for file in files if not any(map(_hidden, file.parts[depth:]))]


def is_folder(place: Path) -> bool:
    """Whether this is a folder: on the disk, in an archive, an archive, or perhaps at an address.

    Of an address the name tells: without the suffix of a file it is one.
    """
    if place.is_dir() or place.name.lower().endswith(ARCHIVE):
        return True
    if isinstance(place, Address):
        is_file = is_audio(place) or is_table(place) or "?" in place.parts[-1]
        return remote.is_pattern(place) or not is_file
    return not is_audio(place) and is_elsewhere(place)


def recordings_under(root: Path) -> list[Path]:
    """The sound files under ``root``, and what may hold some and cannot be entered; sorted."""
    files = walk(root)
    if is_elsewhere(root) or root.is_file():
        return [file for file in files if is_audio(file)]
    return [file for file in files if is_audio(file) or not (is_table(file) or file.is_file())]


def sounds_at(place: Path) -> list[Path]:
    """The recordings that a user means: a file, a folder, a pattern (``rec/**/*.wav``) or a list.

    A folder may be a zip archive, one in it, or an address (``s3://bucket/rec``). A list is a
    ``.txt`` with a path in each row, from the folder that it lies in; a row may be a folder or a
    pattern, too, and one that begins with ``#`` is passed over.

    Raises:
        UserError: nothing is there; of a list it names the row.
    """
    place = place_of(place)
    if isinstance(place, Address):
        kept.allow(str(place).partition("*")[0].partition("[")[0])
    if is_folder(place):
        found = recordings_under(place)
        if not found and is_elsewhere(place):
            raise UserError(f"{place}: holds no recordings, or tells of none")
        return found
    if is_elsewhere(place):
        return [place]
    if place.is_file() and place.suffix.lower() == ".txt":
        return _listed(place)
    if place.exists():
        return [place]
    if not has_magic(str(place)):
        raise UserError(f"{place}: there is no such recording, folder or pattern")
    found = sorted(map(Path, glob(str(place), recursive=True)))
    return [file for path in found for file in (recordings_under(path) if path.is_dir() else [path])
            if is_audio(file)]  # fmt: skip


def _listed(table: Path) -> list[Path]:
    try:
        rows = table.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{table}: is no list of recordings in UTF-8; save it anew") from error
    files: dict[Path, None] = {}
    for number, row in enumerate(map(str.strip, rows), start=1):
        if not row or row.startswith("#"):
            continue
        place = place_of(row)
        place = place if isinstance(place, Address) else table.parent / row
        if place.suffix.lower() == ".txt":
            raise UserError(f"{table}, row {number}: {row} is no recording")
        try:
            files |= dict.fromkeys(sounds_at(place))
        except UserError as error:
            raise UserError(f"{table}, row {number}: {error}") from error
    return list(files)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
