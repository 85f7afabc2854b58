"""Sound files in, float32 mono samples out, a block at a time and at the rate that is asked for.

Shapes: x_T mono samples; x_TC samples of C channels as the file holds them.
"""

import hashlib
import io
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from g5.common.errors import UserError

# What is decoded (and resampled) at once, whatever the caller's block: the samples that come out
# can then not depend on it. 64 Ki samples stay in the cache.
_CHUNK = 1 << 16
# soxr's "HQ" filter is shorter than this on either side, at any of the two rates.
_FILTER_REACH = 4096


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file's header says."""

    rate_hz: int
    channels: int
    frames: int
    duration_s: float
    note: str = ""  # what is wrong with the header, where it was not believed


def info(path: str | os.PathLike[str], *, to_end: bool = False) -> AudioInfo:
    """Read the header of a sound file.

    Args:
        path: the file.
        to_end: a WAV whose header gives a wrong length (0, wrapped, too long) is no error, but
            lasts to the end of the file; ``note`` says so.

    Raises:
        UserError: the file is missing, a folder, no sound file, truncated (WAV) or empty.
    """
    with _opened(path, to_end) as sound:
        note = wrong_length(path) if to_end else ""
        return AudioInfo(
            sound.samplerate, sound.channels, sound.frames, sound.frames / sound.samplerate, note
        )


def blocks(
    path: str | os.PathLike[str], *, block_s: float, rate_hz: int | None, to_end: bool = False
) -> Iterator[np.ndarray]:
    """Decode a file to mono blocks, contiguous in time, without holding more than one of them.

    Args:
        path: wav, flac, ogg, mp3, ... of any width, rate and number of channels.
        block_s: length of a block, seconds.
        rate_hz: rate to resample to; None: the file's own.
        to_end: as for `info`.

    Yields:
        ``(samples,)`` float32, the mean over the channels; every block but the last has
        ``round(block_s * rate)`` samples. The samples do not depend on ``block_s``.

    Raises:
        UserError: as `info`, and for NaN or infinite samples or a file that ends early; it
            names the file and the second.
    """
    with _opened(path, to_end) as sound:
        rate = rate_hz or sound.samplerate
        size = max(1, round(block_s * rate))
        yield from _reblock(_resampled(path, sound, rate), size)


def read(
    path: str | os.PathLike[str],
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    rate_hz: int | None = None,
    to_end: bool = False,
) -> np.ndarray:
    """Decode a stretch of a file to mono: ``(samples,)`` float32.

    Sample 0 is number ``round(start_s * rate)`` of the whole file at that rate, and the stretch
    stops where the file does. A whole file equals the concatenation of its `blocks`. A stretch
    that is resampled is decoded from a little before its start, and equals the slice of the
    whole up to rounding.

    Raises:
        UserError: as `blocks`.
    """
    assert 0 <= start_s <= (start_s if end_s is None else end_s), (start_s, end_s)
    with _opened(path, to_end) as sound:
        source_hz, rate = sound.samplerate, rate_hz or sound.samplerate
        first = round(start_s * rate)
        stop = None if end_s is None else round(end_s * rate)
        # Decoding starts where a sample of the one rate falls on a sample of the other, so that
        # the stretch has the same phase as the whole.
        step = source_hz // math.gcd(source_hz, rate)
        reach = 0 if rate == source_hz else _FILTER_REACH * max(1, math.ceil(source_hz / rate))
        head = max(0, first * source_hz // rate - reach) // step * step
        if head >= sound.frames:
            return np.zeros(0, np.float32)
        skip = first - head * rate // source_hz
        need = None if stop is None else skip + stop - first
        parts, have = [np.zeros(0, np.float32)], 0
        for part in _resampled(path, sound, rate, head=head):
            parts.append(part)
            have += len(part)
            if need is not None and have >= need:
                break
        return np.ascontiguousarray(np.concatenate(parts)[skip:need])


def content_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file's bytes, in hex. `preprocessing.recordings` remembers it."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def _opened(path: str | os.PathLike[str], to_end: bool = False) -> Iterator[soundfile.SoundFile]:
    """Open a sound file, or say in one line why it cannot be used."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; a sound file is needed here")
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    try:
        with open(path, "rb") as handle:
            missing = 0 if to_end else _missing_bytes(handle)
        sound = _to_end(path) if to_end and wrong_length(path) else soundfile.SoundFile(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        empty = "it is empty" if path.stat().st_size == 0 else reason
        raise UserError(
            f"{path}: cannot be read as sound ({empty}); replace or remove it"
        ) from error
    with sound:
        if missing:
            raise UserError(
                f"{path}: truncated, the header promises {missing:,} bytes more than there are; "
                "copy it again, or remove it"
            )
        if sound.frames == 0:
            raise UserError(f"{path}: has no samples; replace or remove it")
        yield sound


def _missing_bytes(handle: BinaryIO) -> int:
    """How many bytes of sound a WAV's header promises that the file does not hold.

    libsndfile reads a truncated WAV as if it were a shorter one. Sizes of 0 and 2^31-1 or more
    are what programs write that do not know the length yet (pipes): they promise nothing.
    """
    magic = handle.read(12)
    if magic[:4] not in (b"RIFF", b"RF64") or magic[8:] != b"WAVE":
        return 0
    end = os.fstat(handle.fileno()).st_size
    long_size = None
    while len(head := handle.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        here = handle.tell()
        if name == b"ds64" and len(sizes := handle.read(min(size, 16))) == 16:
            long_size = struct.unpack("<QQ", sizes)[1]
        if name == b"data":
            if size == 0xFFFFFFFF and long_size is not None:
                size = long_size
            elif size >= 0x7FFFFFFF:
                return 0
            return max(0, size - (end - here))
        handle.seek(here + size + size % 2)
    return 0


class _Tail(io.FileIO):
    """A file from some byte on, as if it began there."""

    def __init__(self, path: Path, first: int) -> None:
        super().__init__(path, "rb")
        self._first = first
        super().seek(first)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            offset += self._first
        return super().seek(offset, whence) - self._first

    def tell(self) -> int:
        return super().tell() - self._first


@dataclass(frozen=True)
class _Wav:
    """Where the samples of a WAV lie and what they are."""

    tag: int
    channels: int
    rate_hz: int
    bits: int
    first: int  # byte
    size: int  # bytes, as the header says
    there: int  # bytes, to the end of the file


def _wav(path: str | os.PathLike[str]) -> _Wav | None:
    """The layout of a WAV of plain samples; None for everything else."""
    with open(path, "rb") as handle:
        magic = handle.read(12)
        if magic[:4] not in (b"RIFF", b"RF64") or magic[8:] != b"WAVE":
            return None
        end = os.fstat(handle.fileno()).st_size
        kind, long_size = None, None
        while len(head := handle.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            here = handle.tell()
            if name == b"ds64" and len(sizes := handle.read(min(size, 16))) == 16:
                long_size = struct.unpack("<QQ", sizes)[1]
            if name == b"fmt " and len(body := handle.read(min(size, 26))) >= 16:
                tag, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", body[:16])
                if tag == 0xFFFE and len(body) == 26:
                    # WAVE_FORMAT_EXTENSIBLE: the format is the head of a GUID.
                    tag = struct.unpack("<H", body[24:])[0]
                kind = tag, channels, rate_hz, bits
            if name == b"data" and kind is not None:
                if size == 0xFFFFFFFF and long_size is not None:
                    size = long_size
                return _Wav(*kind, here, size, end - here)
            handle.seek(here + size + size % 2)
    return None


def wrong_length(path: str | os.PathLike[str]) -> str:
    """What is wrong with the length in a WAV's header; "" if nothing.

    It is wrong where the header promises more than there is, or where what follows the promised
    samples is neither the end of the file nor another chunk (recorders that write more than
    4 GiB, or were stopped, leave such headers).
    """
    wav = _wav(path)
    if wav is None or wav.size == wav.there or wav.first + wav.there <= wav.first:
        return ""
    if wav.size > wav.there:
        unknown = wav.size >= 0x7FFFFFFF
        what = "no length" if unknown else f"{wav.size - wav.there:,} bytes more than there are"
        return f"the header promises {what}; read to the end of the file"
    with open(path, "rb") as handle:
        handle.seek(wav.first + wav.size + wav.size % 2)
        name = handle.read(4)
    is_chunk = len(name) < 4 or all(32 <= byte < 127 for byte in name)
    if wav.size and is_chunk:
        return ""
    what = "a length of 0" if not wav.size else f"{wav.there - wav.size:,} bytes too few"
    return f"the header says {what}; read to the end of the file"


_RAW = {
    (1, 8): "PCM_U8", (1, 16): "PCM_16", (1, 24): "PCM_24", (1, 32): "PCM_32",
    (3, 32): "FLOAT", (3, 64): "DOUBLE",
}  # fmt: skip


def _to_end(path: Path) -> soundfile.SoundFile:
    """A WAV whose length is not believed: its samples to the end of the file."""
    wav = _wav(path)
    assert wav is not None
    subtype = _RAW.get((wav.tag, wav.bits))
    if subtype is None or not wav.channels or not wav.rate_hz:
        return soundfile.SoundFile(path)
    return soundfile.SoundFile(
        _Tail(path, wav.first), samplerate=wav.rate_hz, channels=wav.channels, format="RAW",
        subtype=subtype, endian="LITTLE",
    )  # fmt: skip


def _mono(
    path: str | os.PathLike[str], sound: soundfile.SoundFile, *, head: int
) -> Iterator[np.ndarray]:
    """The file's samples from frame ``head`` to its end, the mean of its channels."""
    position = head
    while True:
        try:
            if position == head > 0:
                sound.seek(head)
            x_TC = sound.read(_CHUNK, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            second = position / sound.samplerate
            raise UserError(
                f"{path}: damaged at {second:.3f} s ({error.error_string.rstrip('.')}); "
                "copy it again, or remove it"
            ) from error
        if not len(x_TC):
            break
        # One pass per channel is several times faster than a mean over a short last axis.
        x_T = x_TC[:, 0] if x_TC.shape[1] == 1 else np.add(x_TC[:, 0], x_TC[:, 1])
        for channel in range(2, x_TC.shape[1]):
            x_T += x_TC[:, channel]
        if x_TC.shape[1] > 1:
            x_T *= np.float32(1 / x_TC.shape[1])
        # A sum is the cheapest pass that a NaN or an infinity cannot hide from.
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(x_T.sum())
        if not finite:
            _refuse_nan(path, x_TC, position, sound.samplerate)
        yield x_T
        position += len(x_T)
    # An MP3 counts whole packets of up to 1152 frames and hides its encoder's delay.
    spare = 4 * 1152 if sound.format == "MP3" else 0
    if position + spare < sound.frames:
        raise UserError(
            f"{path}: truncated, it ends at {position / sound.samplerate:.3f} s of "
            f"{sound.frames / sound.samplerate:.3f} s; copy it again, or remove it"
        )


def _refuse_nan(
    path: str | os.PathLike[str], x_TC: np.ndarray, position: int, source_hz: int
) -> None:
    bad_T = ~np.isfinite(x_TC).all(axis=1)
    if bad_T.any():  # else the sum alone was too large for a float32
        second = (position + int(bad_T.argmax())) / source_hz
        raise UserError(
            f"{path}: has NaN or infinite samples, the first at {second:.3f} s; "
            "write it again as PCM, or remove it"
        )


def _resampled(
    path: str | os.PathLike[str], sound: soundfile.SoundFile, rate: int, *, head: int = 0
) -> Iterator[np.ndarray]:
    if rate == sound.samplerate:
        yield from _mono(path, sound, head=head)
        return
    stream = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32", quality="HQ")
    for x_T in _mono(path, sound, head=head):
        yield stream.resample_chunk(x_T)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _reblock(parts: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Cut a stream of arrays into blocks of ``size`` samples; the last may be shorter."""
    block, filled = np.empty(size, np.float32), 0
    for part in parts:
        taken = 0
        while taken < len(part):
            count = min(size - filled, len(part) - taken)
            block[filled : filled + count] = part[taken : taken + count]
            filled, taken = filled + count, taken + count
            if filled == size:
                yield block
                block, filled = np.empty(size, np.float32), 0
    if filled:
        yield block[:filled]
