"""How long a FLAC is, by the number of its last frame, where its header does not say it."""

import mmap
import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from g5.common.files import once_per_file
from preprocessing.containers.stretch import TO_THE_END, WRONG_LENGTH, Mended

_HEAD = 42  # bytes up to the end of what describes the stream
_TAIL = 1 << 19  # bytes at the end of a file in which its last frames are looked for
_COUNT = (1 << 36) - 1  # samples that a header can count
_BITS = (0, 8, 12, -1, 16, 20, 24, 32)
_SIZES = (0, 192, 576, 1152, 2304, 4608, 0, 0, *(256 << n for n in range(8)))


class _Frame(NamedTuple):
    first: int  # sample
    size: int


@once_per_file(1 << 12)
def flac_mended(path: str) -> Mended | None:
    """A FLAC that has more samples than its header says, as a program writes that does not know
    how many there will be; None for all else."""
    if os.path.getsize(path) < _HEAD:
        return None
    with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != b"fLaC" or data[4] & 127:
            return None
        (facts,) = struct.unpack(">Q", data[18:26])
        blocks, bits = struct.unpack(">HH", data[8:12]), (facts >> 36 & 31) + 1
        fixed = blocks[0] if blocks[0] == blocks[1] else 0
        tail = data[max(_HEAD, len(data) - _TAIL) :]
    frames = list(_frames(tail, fixed, bits))
    # A frame is one that another follows, or of which there is no other.
    ends = [b.first + b.size for a, b in pairwise(frames) if a.first + a.size == b.first]
    ends = ends or [one.first + one.size for one in frames if not one.first]
    said, count = facts & _COUNT, max(ends, default=0)
    if count <= said:
        return None
    told = struct.pack(">Q", facts & ~_COUNT | count)
    note = f"its header promises {'too little' if said else 'no length'}; {TO_THE_END}"
    return Mended(
        ((0, 18), told, (26, os.path.getsize(path) - 26)), note, WRONG_LENGTH * bool(said)
    )


def _frames(data: bytes, fixed: int, bits: int) -> Iterator[_Frame]:
    """What may be a frame's head, by its check sum; ``fixed``: the size of all but the last one."""
    at = -1
    while (at := data.find(b"\xff", at + 1)) >= 0:
        head = data[at : at + 16]
        if len(head) < 16 or head[1] & 0xFE != 0xF8 or head[3] & 1 or head[2] & 15 == 15:
            continue
        if _BITS[head[3] >> 1 & 7] not in (0, bits) or head[3] >> 4 > 10:
            continue
        ones = 8 - (head[4] ^ 0xFF).bit_length()  # as UTF-8 counts the bytes of a number
        if ones in (1, 8):
            continue
        number, place, code = head[4] & 0x7F >> ones, 4 + max(1, ones), head[2] >> 4
        for byte in head[5:place]:
            number = number << 6 | byte & 63
        size = _SIZES[code]
        if code in (6, 7):  # said in one or two bytes more
            size = int.from_bytes(head[place : place + code - 5], "big") + 1
            place += code - 5
        place += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)  # the rate
        if size and _crc8(head[:place]) == head[place : place + 1]:
            yield _Frame(number if head[1] & 1 else number * (fixed or size), size)


def _crc8(data: bytes) -> bytes:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 & 0xFF ^ (7 if crc & 0x80 else 0)
    return bytes([crc])
