"""Which recording a name means that somebody wrote down elsewhere: one way for every command."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path, PureWindowsPath
from typing import Generic, TypeVar

from g5.common.elsewhere.places import Address, in_archive, place_of
from g5.common.errors import UserError
from g5.common.files import is_audio, is_foreign, walk

PathLike = TypeVar("PathLike", bound=str | os.PathLike[str])


class Listing(Generic[PathLike]):
    """Recordings by name, whatever folders, case and suffix it is written with.

    A name means those with its last part: as written, else in any case, else with another audio
    suffix or none. Of several it means the one that shares the most folders with it, from the last
    one up: ``D:\\\\2024\\\\site1\\\\x.WAV`` is ``rec/site1/x.wav``.
    """

    def __init__(self, files: Iterable[PathLike]) -> None:
        self._by_stem: dict[str, list[PathLike]] = defaultdict(list)
        for file in files:
            self._by_stem[_stem(_parts(file)[-1])].append(file)

    def __iter__(self) -> Iterator[PathLike]:
        return (file for files in self._by_stem.values() for file in files)

    def find(self, name: str) -> list[PathLike]:
        """The files that ``name`` may mean: none, the one, or several if it is ambiguous."""
        parts = _parts(name)
        if not parts:
            return []
        found = self._by_stem.get(_stem(parts[-1]), [])
        # Beside a recording there may be its copy in a format that cannot be read.
        found = [file for file in found if not is_foreign(str(file))] or found
        if len(found) < 2:
            return list(found)
        # Folders tell sites apart; the last part's spelling tells the rest.
        ranks = [(_shared(parts, _parts(file)), _alike(parts[-1], file)) for file in found]
        best = [file for file, rank in zip(found, ranks, strict=True) if rank == max(ranks)]
        # Links to one file are one recording.
        return list({os.path.realpath(file): file for file in best[::-1]}.values())[::-1]


def finder(home: Path) -> Callable[[str], list[Path]]:
    """Finds the recordings that a table means which names them from ``home`` on.

    Where the table says, in whatever spelling, or else anywhere below ``home``.
    """

    @cache
    def inside(folder: Path) -> Listing[Path]:
        try:
            files = folder.iterdir() if os.path.isdir(folder) else ()
            if in_archive(folder) is not None:
                files = [file for file in walk(folder) if file.parent == folder]
            return Listing(filter(is_audio, files))
        except PermissionError as error:
            raise UserError(f"{folder}: is a folder that cannot be entered; permit it") from error

    @cache
    def below() -> Listing[Path]:
        return Listing(filter(is_audio, walk(home)))

    def find(name: str) -> list[Path]:
        place = home / name.replace("\\", "/")
        if os.path.isfile(place):
            return [place]
        found = inside(place.parent).find(place.name) or below().find(name)
        address = place_of(name)  # refused where it is read, unless the user has typed it
        return found or ([address] if isinstance(address, Address) else [])

    return find


def spelling(name: str) -> str:
    """What all spellings of a recording's name share, whatever its folder."""
    return _stem(_parts(name)[-1])


def same_recording(one: str, other: str) -> bool:
    """Whether two names, of folders of any depth, may be of one recording."""
    a, b = _parts(one), _parts(other)
    if _stem(a[-1]) != _stem(b[-1]):
        return False
    return _shared(a, b) == min(len(a), len(b)) - 1


def _parts(name: str | os.PathLike[str]) -> tuple[str, ...]:
    path = PureWindowsPath(str(name.parent / name.name if isinstance(name, Address) else name))
    return tuple(part for part in path.parts if part not in (path.anchor, ".."))


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many folders are the same, from the last one up."""
    count = 0
    for a, b in zip(one[-2::-1], other[-2::-1], strict=False):
        if _fold(a) != _fold(b):
            break
        count += 1
    return count


def _alike(last: str, file: str | os.PathLike[str]) -> int:
    own = _parts(file)[-1]
    return 2 if own == last else int(_fold(own) == _fold(last))


def _stem(last: str) -> str:
    return _fold(last.rpartition(".")[0] if is_audio(last) else last)


def _fold(name: str) -> str:
    # A disk may spell "ä" as one character and a table as two; a table has no ends of lines.
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())
