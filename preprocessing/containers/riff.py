"""Where the samples of a WAV lie, whatever its header gets wrong."""

import os
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import soundfile

from g5.common.elsewhere import kept
from preprocessing.containers.stretch import ENDS_EARLY, TO_THE_END, WRONG_LENGTH, Pieces

# Sizes that programs write who do not know the length yet (pipes), or whose 32 bits are too few.
UNKNOWN_SIZE = 0x7FFFFFFF
WRAP = 1 << 32
_CHANNELS = 1024  # that libsndfile reads
RAW = {
    (1, 1): "PCM_U8", (1, 2): "PCM_16", (1, 3): "PCM_24", (1, 4): "PCM_32",
    (3, 4): "FLOAT", (3, 8): "DOUBLE", (6, 1): "ALAW", (7, 1): "ULAW",
}  # fmt: skip
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
# Of the GUID of a chunk of W64 that a chunk of RIFF has, too: all but its first four bytes.
_W64_CHUNK = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


@dataclass(frozen=True)
class WavLayout:
    """Where the samples of a WAV or a CAF lie and what they are.

    Attributes:
        subtype: as libsndfile calls it; "" where samples cannot be read one by one.
        endian: "LITTLE" or "BIG".
        first, size: of the samples, bytes.
        frame_bytes: of one frame.
        note: what is wrong with the header; "" if nothing.
        fault: the same as a predicate of several files; "" also where a length was not known.
    """

    subtype: str
    endian: str
    channels: int
    rate_hz: int
    first: int
    size: int
    frame_bytes: int
    note: str = ""
    fault: str = ""

    @property
    def frames(self) -> int:
        return self.size // self.frame_bytes

    @property
    def raw(self) -> bool:
        """Whether the samples can be read without libsndfile's view of the header."""
        return bool(self.subtype)


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    first: int  # byte of its content
    size: int  # as its header says


class _Riff:
    """The chunks of a RIFF file, in any of its dialects."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.end = handle.seek(0, os.SEEK_END)
        handle.seek(0)
        head = handle.read(40)
        self.w64 = head[:16] == _W64_RIFF
        magics = (b"RIFF", b"RIFX", b"RF64", b"BW64")
        self.known = self.w64 or (head[:4] in magics and head[8:12] == b"WAVE")
        self.order = ">" if head[:4] == b"RIFX" else "<"
        self.long_sizes: tuple[int, int] | None = None  # of RIFF and data, from ds64
        if not self.known:
            return
        if self.w64:
            self.body, self.stop = 40, struct.unpack("<Q", head[16:24].ljust(8, b"\0"))[0]
        else:
            self.body, self.stop = 12, 8 + struct.unpack(self.order + "I", head[4:8])[0]

    def chunks(self) -> Iterator[_Chunk]:
        at = self.body
        while at is not None and (chunk := self._chunk(at)) is not None:
            if chunk.name == b"ds64" and len(body := self.content(chunk, 16)) == 16:
                self.long_sizes = struct.unpack("<QQ", body)
                self.stop = 8 + self.long_sizes[0]
            if chunk.name == b"data" and chunk.size == WRAP - 1 and self.long_sizes:
                chunk = _Chunk(chunk.name, chunk.first, self.long_sizes[1])
            yield chunk
            at = self.after(chunk)

    def content(self, chunk: _Chunk, most: int) -> bytes:
        self._handle.seek(chunk.first)
        return self._handle.read(min(chunk.size, most))

    def after(self, chunk: _Chunk) -> int | None:
        """Where the next chunk begins, padded or not; None: none does."""
        end = chunk.first + chunk.size
        padded = end + (-end % 8 if self.w64 else chunk.size % 2)
        return next((at for at in (padded, end) if self._is_chunk(at)), None)

    def is_whole(self, chunk: _Chunk) -> bool:
        """Whether what follows a chunk is its file's end, its RIFF's, or another chunk."""
        end = chunk.first + chunk.size
        slack = range(end, end + (8 if self.w64 else 2))
        return self.end in slack or self.stop in slack or self.after(chunk) is not None

    def _is_chunk(self, at: int) -> bool:
        chunk = self._chunk(at)
        if chunk is None or not all(32 <= byte < 127 for byte in chunk.name):
            return False
        unknown = chunk.name == b"data" and chunk.size >= UNKNOWN_SIZE
        return chunk.name in (b"data", b"fmt ") or unknown or chunk.first + chunk.size <= self.end

    def _chunk(self, at: int) -> _Chunk | None:
        if at > self.end:  # a size of 64 bits may be any number
            return None
        self._handle.seek(at)
        if not self.w64:
            head = self._handle.read(8)
            if len(head) < 8:
                return None
            return _Chunk(head[:4], at + 8, struct.unpack(self.order + "4xI", head)[0])
        head = self._handle.read(24)
        if len(head) < 24 or head[4:16] != _W64_CHUNK:
            return None
        return _Chunk(head[:4], at + 24, max(0, struct.unpack("<16xQ", head)[0] - 24))


def wav_layout(path: str | os.PathLike[str]) -> WavLayout | None:
    """The layout of a WAV; None for everything else.

    The length of the samples is what the sizes of RIFF and data agree on, whatever follows; where
    they do not, and no chunk follows, the samples last to the end of the file.
    """
    return wav_chunks(path, ())[0]


def wav_chunks(
    path: str | os.PathLike[str], wanted: Collection[bytes], most: int = 1 << 16
) -> tuple[WavLayout | None, dict[bytes, bytes]]:
    """As `wav_layout`, and the content of the first chunks of these names, before or after it.

    Args:
        path: the file.
        wanted: names; of a LIST the kind is part of it, ``b"LISTINFO"``.
        most: bytes of a chunk that are read.
    """
    with kept.opened(path) as handle:
        riff = _Riff(handle)
        if not riff.known:
            return None, {}
        form, data, found = None, None, {}
        for chunk in riff.chunks():
            if chunk.name == b"fmt " and form is None:
                form = _form(riff.content(chunk, 40), riff.order)
            elif chunk.name == b"data" and data is None:
                data = chunk
            elif wanted:
                body = riff.content(chunk, most)
                listed = chunk.name == b"LIST"
                name, body = (b"LIST" + body[:4], body[4:]) if listed else (chunk.name, body)
                if name in wanted:
                    found.setdefault(name, body)
            if form and data and not wanted:
                break
        return _layout(riff, form, data), found


def _layout(
    riff: _Riff, form: tuple[int, int, int, int] | None, data: _Chunk | None
) -> WavLayout | None:
    if form is None or data is None:
        return None
    tag, channels, rate_hz, frame_bytes = form
    if not (0 < channels <= _CHANNELS and 0 < rate_hz < WRAP // 2 and frame_bytes):
        return None  # libsndfile says what is wrong
    size, note, fault = _size(riff, data)
    subtype = RAW.get((tag, frame_bytes // channels), "") if not frame_bytes % channels else ""
    endian = "BIG" if riff.order == ">" else "LITTLE"
    return WavLayout(subtype, endian, channels, rate_hz, data.first, size, frame_bytes, note, fault)


def _form(body: bytes, order: str) -> tuple[int, int, int, int] | None:
    """Format, channels, rate and bytes of a frame."""
    if len(body) < 16:
        return None
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack(order + "HHIIHH", body[:16])
    if tag == 0xFFFE and len(body) >= 26:
        # WAVE_FORMAT_EXTENSIBLE: the format is the head of a GUID.
        tag = struct.unpack(order + "H", body[24:26])[0]
    width = -(-bits // 8)
    if not frame_bytes or (frame_bytes < channels * width and (tag, width) in RAW):
        frame_bytes = channels * width
    return tag, channels, rate_hz, frame_bytes


def _size(riff: _Riff, data: _Chunk) -> tuple[int, str, str]:
    """How many bytes of samples there are, and what is wrong with the header's size."""
    there = riff.end - data.first
    wraps = (riff.end - riff.stop) // WRAP
    if wraps > 0 and not (riff.end - riff.stop) % WRAP and not riff.w64:
        size = min(data.size + wraps * WRAP, there)
        return (
            size,
            f"the header says {size - data.size:,} bytes too few; {TO_THE_END}",
            WRONG_LENGTH,
        )
    if data.size > there:
        if data.size >= UNKNOWN_SIZE and riff.long_sizes is None and not riff.w64:
            return there, f"the header promises no length; {TO_THE_END}", ""
        more = f"{data.size - there:,} bytes more than there are"
        return there, f"the header promises {more}; {TO_THE_END}", ENDS_EARLY
    if data.size == there or (data.size and riff.is_whole(data)) or riff.after(data) is not None:
        return data.size, "", ""
    end = riff.stop if data.first + data.size < riff.stop < riff.end else riff.end
    size = end - data.first
    what = f"{size - data.size:,} bytes too few" if data.size else "a length of 0"
    return size, f"the header says {what}; {TO_THE_END}", WRONG_LENGTH


def open_samples(path: str | os.PathLike[str], layout: WavLayout) -> soundfile.SoundFile:
    """The samples of a layout, whatever libsndfile thinks of the header."""
    size = layout.frames * layout.frame_bytes
    samples: Any = Pieces(path, [(layout.first, size)])  # soundfile takes more than its types say
    return soundfile.SoundFile(
        samples, samplerate=layout.rate_hz, channels=layout.channels,
        format="RAW", subtype=layout.subtype, endian=layout.endian,
    )  # fmt: skip
