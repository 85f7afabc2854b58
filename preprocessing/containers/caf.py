"""What is left of a CAF that is shorter than it says, which libsndfile refuses."""

import os
import struct
from typing import BinaryIO

from g5.common.errors import UserError
from preprocessing.containers.riff import RAW, WRAP, WavLayout
from preprocessing.containers.stretch import ENDS_EARLY, TO_THE_END, Mended

_NOTE = f"it ends before its header says; {TO_THE_END}"


def cut_caf(path: str | os.PathLike[str]) -> WavLayout | Mended | None:
    """What is there of a CAF that is shorter than it says; None for everything else.

    Raises:
        UserError: it is packed (ALAC), and its table of packets was lost with its end.
    """
    with open(path, "rb") as handle:
        end, at, form, table = os.fstat(handle.fileno()).st_size, 8, bytes(32), None
        known = handle.read(4) == b"caff"
        while known and at < end:
            handle.seek(at)
            name, size = struct.unpack(">4sq", handle.read(12).ljust(12, b"\0"))
            if name == b"desc":
                form = handle.read(32).ljust(32, b"\0")
            if name == b"pakt":
                table = at, size
            if name == b"data":
                if at + 12 + size <= end:
                    return None
                if form[8:12] != b"alac":
                    return _cut_samples(form, at + 16, end)  # a count of edits comes before them
                if table is None:
                    raise UserError(
                        f"{path}: ends before its header says, and its table of packets, which "
                        "comes last, is missing; copy it again, or remove it"
                    )
                return _cut_packets(handle, form, table, at, end)
            at += 12 + max(size, 0)  # of samples up to the end it may be -1
    return None


def _cut_samples(form: bytes, first: int, end: int) -> WavLayout | None:
    rate_hz, kind, flags, frame_bytes, _, channels, _ = struct.unpack(">d4sIIIII", form)
    if not (1 <= rate_hz < WRAP and frame_bytes and channels):
        return None
    tag = {b"lpcm": 1 + 2 * (flags & 1), b"alaw": 6, b"ulaw": 7}.get(kind, 0)
    of_sample = tag, frame_bytes // channels
    subtype = "PCM_S8" if of_sample == (1, 1) else RAW.get(of_sample, "")
    endian, size = "LITTLE" if flags & 2 else "BIG", max(0, end - first)
    return WavLayout(
        subtype, endian, channels, int(rate_hz), first, size, frame_bytes, _NOTE, ENDS_EARLY
    )


def _cut_packets(
    handle: BinaryIO, form: bytes, table: tuple[int, int], data: int, end: int
) -> Mended:
    """A table of the packets that are whole, and these.

    Args:
        handle: the file.
        form: content of its chunk ``desc``.
        table: where the chunk ``pakt`` begins, and its size.
        data: where the chunk ``data`` begins.
        end: of the file.
    """
    handle.seek(0)
    head = handle.read(data)
    at, size = table
    entries = head[at + 36 : at + 12 + size]
    kept, have, count, number = 0, 0, 0, 0
    for place, byte in enumerate(entries):
        number = number << 7 | byte & 127
        if byte < 128:
            if data + 16 + have + number > end:
                break
            have, count, kept, number = have + number, count + 1, place + 1, 0
    frames = count * struct.unpack(">20xI8x", form)[0]
    packets = struct.pack(">qqii", count, frames, 0, 0) + entries[:kept]
    head = (
        head[:at] + struct.pack(">4sq", b"pakt", len(packets)) + packets + head[at + 12 + size :]
        + struct.pack(">4sqI", b"data", 4 + have, 0)
    )  # fmt: skip
    return Mended((head, (data + 16, have)), _NOTE, ENDS_EARLY)
