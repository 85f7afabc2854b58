"""How long an MP3 is: its packets are counted where the first one does not say it, or wrongly."""

import mmap
import os
import struct
from itertools import pairwise
from typing import NamedTuple

from g5.common.files import once_per_file
from preprocessing.containers.stretch import (
    DAMAGED,
    ENDS_EARLY,
    TO_THE_END,
    WRONG_LENGTH,
    Mended,
    Piece,
)

# Bits per second of layer III by their index, in thousands: of MPEG 1, and of 2 and 2.5.
_KBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = (44100, 48000, 32000)
_SEARCHED = 1 << 24  # bytes in which the next packet is looked for where there is none
_IN_A_ROW = 3  # packets that show that it is one


class _Packet(NamedTuple):
    size: int
    seconds: float
    alike: tuple[int, int, bool]  # version, rate and whether it is mono: the same in all packets


class _Chain(NamedTuple):
    first: int
    end: int
    count: int


class _Said(NamedTuple):
    """How many packets the first one says that there are after it, and where in it it does."""

    at: int
    count: int
    size: int

    def fits(self, count: int, size: int) -> bool:
        """Whether there are as many; some programs count the first one, too."""
        return self.size <= size and abs(count - self.count) <= 1

    @classmethod
    def of(cls, data: mmap.mmap, first: int, packet: _Packet) -> "_Said | None":
        at = _side(packet)
        words = data[first + at : first + at + 16]
        if words[:4] not in (b"Xing", b"Info") or len(words) < 16:
            return None
        if any(data[first + 4 : first + at]):  # libmpg123 takes it for sound
            return None
        flags, count, size = struct.unpack(">4xIII", words)
        return cls(at, count, size) if flags & 3 == 3 else None


@once_per_file(1 << 12)
def mp3_mended(path: str) -> Mended | None:
    """An MP3 that has not as many packets as its first one says, in a row; None for all else.

    libsndfile guesses the length of one that says nothing, and reads no further than that, nor
    further than a gap.
    """
    if os.path.getsize(path) < 4:
        return None
    with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        first = _after_tags(data)
        if _packet(data, first) is None:
            # What begins as nothing that is known is no MP3, unless it says so.
            named = path.lower().endswith(".mp3") and data[:4] not in (b"RIFF", b"fLaC", b"OggS")
            found = _next(data, first) if named else None
            if found is None:
                return None
            first = found
        packet = _packet(data, first)
        assert packet is not None
        said = _Said.of(data, first, packet)
        lost = data[first + 36 : first + 40] == b"VBRI"  # libmpg123 would decode it
        runs, cut = _runs(data, first + packet.size * (lost or said is not None), packet)
        count = sum(run.count for run in runs)
        if count < _IN_A_ROW:
            return None
        if said is not None and len(runs) == 1 and not cut and said.fits(count, len(data) - first):
            return None
        return _shown(runs, said, packet, data[first : first + packet.size], cut=cut)


def _shown(
    runs: "list[_Chain]", said: "_Said | None", packet: "_Packet", head: bytes, *, cut: bool
) -> Mended:
    """Packets as they are to be read: under a head that is right, and with silence in the gaps."""
    count = sum(run.count for run in runs)
    gaps = [after.first - run.end for run, after in pairwise(runs)]
    mean = sum(run.end - run.first for run in runs) / count
    missing = said.count - count if said and not cut else round(sum(gaps) / mean)
    if said and said.count > count:
        missing = min(missing, said.count - count)
    blank, left = _blank(head, packet), max(0, missing) if gaps else 0
    pieces: list[Piece] = [(runs[0].first, runs[0].end - runs[0].first)]
    for number, (gap, run) in enumerate(zip(gaps, runs[1:], strict=True)):
        share = round(left * gap / sum(gaps[number:]))
        pieces += [blank * share, (run.first, run.end - run.first)]
        left, count = left - share, count + share
    size = sum(len(one) if isinstance(one, bytes) else one[1] for one in pieces)
    note, fault = f"its header promises no length; {TO_THE_END}", ""
    if said and said.count < count:
        note, fault = f"its header promises too little; {TO_THE_END}", WRONG_LENGTH
    if gaps:
        at_s = runs[0].count * packet.seconds
        note, fault = f"it is damaged at {at_s:.3f} s; silence stands for it", DAMAGED
    if said and said.count > count:
        ends_s, promised_s = count * packet.seconds, said.count * packet.seconds
        note = f"it ends at {ends_s:.3f} s of {promised_s:.3f} s; read to there"
        fault = ENDS_EARLY
    elif cut:
        note, fault = f"it ends within a packet; {TO_THE_END}", ENDS_EARLY
    if said:
        at = said.at + 8
        told = struct.pack(">II", count, size + len(head))
        return Mended((head[:at] + told + head[at + 8 :], *pieces), note, fault)
    at = _side(packet)
    told = struct.pack(">4sIII", b"Xing", 3, count, size + len(blank))
    return Mended((blank[:at] + told + blank[at + 16 :], *pieces), note, fault)


def _after_tags(data: mmap.mmap) -> int:
    first = 0
    while data[first : first + 3] == b"ID3" and len(tag := data[first : first + 10]) == 10:
        size = sum((byte & 127) << 7 * place for place, byte in enumerate(tag[:5:-1]))
        first += 10 + size + 10 * (tag[5] >> 4 & 1)
    return first


def _packet(data: mmap.mmap, at: int) -> _Packet | None:
    """The packet of layer III that begins at a byte, if one does."""
    return _of(data[at : at + 4])


def _of(head: bytes) -> _Packet | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or not 0 < kbits < 15 or rate == 3:
        return None
    samples = 1152 if version == 3 else 576
    rate_hz = _RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    size = samples // 8 * _KBITS[version == 3][kbits] * 1000 // rate_hz + (head[2] >> 1 & 1)
    return _Packet(size, samples / rate_hz, (version, rate, head[3] >> 6 == 3))


def _next(data: mmap.mmap, at: int, like: _Packet | None = None) -> int | None:
    """Where the next packets in a row begin."""
    stop = at + _SEARCHED
    while (at := data.find(b"\xff", at, stop)) >= 0:
        place, first = at, like or _packet(data, at)
        for _ in range(_IN_A_ROW):
            packet = _packet(data, place)
            if packet is None or first is None or packet.alike != first.alike:
                break
            place += packet.size
        else:
            return at
        at += 1
    return None


def _runs(data: mmap.mmap, at: int, like: _Packet) -> tuple[list[_Chain], bool]:
    """Whole packets in a row, and whether another was cut by the file's end."""
    runs, first, count = [], at, 0
    while True:
        packet = _packet(data, at)
        if packet is not None and packet.alike == like.alike:
            if at + packet.size <= len(data):
                count, at = count + 1, at + packet.size
                continue
            found, cut = None, True
        else:
            found, cut = _next(data, at, like), False
        if count:
            runs.append(_Chain(first, at, count))
        if found is None:
            return runs, cut
        first = at = found
        count = 0


def _side(packet: _Packet) -> int:
    """Where the first packet says its length, after what would describe its sound."""
    version, _, mono = packet.alike
    return 4 + {True: (32, 17), False: (17, 9)}[version == 3][mono]


def _blank(head: bytes, packet: _Packet) -> bytes:
    """A packet of silence."""
    kbits = 9 if packet.alike[0] == 3 else 8
    first = bytes([0xFF, head[1] | 1, kbits << 4 | head[2] & 0x0C, head[3]])
    blank = _of(first)
    assert blank is not None
    return first.ljust(blank.size, b"\0")
