"""Pieces of a file, and of others, as if they were one; words for what is wrong with it."""

import io
import os
from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import soundfile

ENDS_EARLY = "end early"
DAMAGED = "are damaged inside"
WRONG_LENGTH = "have a header with a wrong length"
TO_THE_END = "read to the end of the file"
Piece = bytes | tuple[int, int]  # bytes, or where of a file they begin and how many they are


class Pieces(io.RawIOBase):
    """Pieces as if they were a file: bytes, or where of a file they begin and how many they are."""

    def __init__(self, path: str | os.PathLike[str], pieces: Iterable[Piece]) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  `close` closes it
        self._pieces = list(pieces)
        sizes = [len(one) if isinstance(one, bytes) else one[1] for one in self._pieces]
        self._begins, self._at = [0, *accumulate(sizes)], 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._begins[-1]}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        view, count = memoryview(buffer), 0
        while count < len(view) and self._at < self._begins[-1]:
            number = bisect(self._begins, self._at) - 1
            piece, skip = self._pieces[number], self._at - self._begins[number]
            here = view[count : count + self._begins[number + 1] - self._at]
            if isinstance(piece, bytes):
                here[:] = piece[skip : skip + len(here)]
                got = len(here)
            else:
                self._file.seek(piece[0] + skip)
                got = self._file.readinto(here)
            self._at, count = self._at + got, count + got
            if not got:
                break
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class Mended:
    """A file as libsndfile has to be shown it, so that it reads all that is there.

    Attributes:
        pieces: of the file, and what stands for others.
        note: what is wrong with the file.
        fault: the same as a predicate of several files; "" if it is no fault.
    """

    pieces: tuple[Piece, ...]
    note: str
    fault: str

    def open(self, path: str | os.PathLike[str]) -> soundfile.SoundFile:
        content: Any = Pieces(path, self.pieces)  # soundfile takes more than its types say
        return soundfile.SoundFile(content)
