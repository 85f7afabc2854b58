"""Sound files in, float32 mono samples out, a block at a time and at the rate that is asked for.

Shapes: x_T mono samples; x_TC samples of C channels as the file holds them.
"""

import hashlib
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from g5.common.elsewhere import kept
from g5.common.errors import UserError
from g5.common.files import once_per_file
from g5.common.words import counted, on_one_line
from preprocessing.audio_rules import AudioRules
from preprocessing.containers.ends import form_is_cut
from preprocessing.containers.ogg import Span, ogg_pages
from preprocessing.containers.stretch import ENDS_EARLY, TO_THE_END, Mended
from preprocessing.decoder_noise import quiet_decoder
from preprocessing.holds import without_holds
from preprocessing.opening import (
    Layout,
    decoded,
    has_end,
    has_start,
    opened,
    promised,
    refuse_irregular,
)

# What is decoded (and resampled) at once, whatever the caller's block: the samples that come out
# can then not depend on it. 64 Ki samples stay in the cache.
_CHUNK = 1 << 16
_SMALL_CHUNK = 1 << 8  # read one by one where a chunk is damaged: what is whole of it is kept
_SKIP = 4096  # frames that are passed over at once where nothing can be decoded
# Stretches of a file, and their frames, that tell whether its channels cancel each other: their
# mean then has less than this share of the power it would have if they were strangers. Those that
# have less than the last share of the loudest one's power tell nothing.
_PROBES, _PROBE, _CANCELLED, _LOUD = 8, 1 << 15, 0.05, 0.1
# soxr's "HQ" filter is shorter than this on either side, at any of the two rates.
_FILTER_REACH = 4096
_MOST_RESAMPLED = 1 << 20  # samples that come out of it at once: a header may say 4 Hz
_FLOATS = "FLOAT", "DOUBLE"


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file's header says, as far as it is right.

    Attributes:
        fault: what is broken of the file, as a predicate of several; "" if nothing.
        note: what is odd about this file, and how it is read; "" if nothing.
        floats: its samples may be no numbers.
    """

    rate_hz: int
    channels: int
    frames: int
    duration_s: float
    fault: str = ""
    note: str = ""
    floats: bool = False


def info(path: str | os.PathLike[str], rules: AudioRules | None = None) -> AudioInfo:
    """Read the header of a sound file; one that is wrong is put right.

    ``rules``, if given, may refuse its rate, and its note says which channel they choose.

    Raises:
        UserError: the file is missing, no regular file, no sound file or empty.
    """
    with kept.local(path) as path:
        with opened(path, rules) as (sound, layout):
            fault, note, frames = _fault(path, sound, layout)
            rate_hz, channels, floats = sound.samplerate, sound.channels, sound.subtype in _FLOATS
        auto = rules if rules and rules.channel == "auto" else None
        if auto and (one := _chosen(path, channels, auto)) is not None:
            other = f"its channels cancel each other, so channel {one + 1}, the loudest, is read"
            note = "; ".join(filter(None, [note, other]))
    return AudioInfo(rate_hz, channels, frames, frames / rate_hz, fault, note, floats)


def blocks(
    path: str | os.PathLike[str], rules: AudioRules, *, block_s: float, rate_hz: int | None
) -> Iterator[np.ndarray]:
    """Decode a file to mono blocks, contiguous in time, without holding more than one of them.

    Args:
        path: of any format, width, rate and number of channels.
        rules: which channel is read, and what rates are.
        block_s: length of a block, seconds.
        rate_hz: rate to resample to; None: the file's own.

    Yields:
        ``(samples,)`` float32, of one channel or the mean of all; every block but the last has
        ``round(block_s * rate)`` samples. They do not depend on ``block_s``; what is held at one
        value is zeros (`preprocessing.holds`); a file that is damaged
        or ends before its header says is read as far as it goes.

    Raises:
        UserError: as `info`, and for NaN or infinite samples; it names the file and the second.
    """
    with kept.local(path) as path, opened(path, rules) as (sound, _):
        rate = rate_hz or sound.samplerate
        size = max(1, round(block_s * rate))
        yield from _reblock(_resampled(path, sound, rules, rate), size)


def read(
    path: str | os.PathLike[str], rules: AudioRules, *, start_s: float = 0.0, end_s: float | None =
    None, rate_hz: int | None = None,
) -> np.ndarray:  # fmt: skip
    """Decode a stretch of a file to mono: ``(samples,)`` float32.

    Sample 0 is number ``round(start_s * rate)`` of the whole file at that rate, and the stretch
    stops where the file does. A whole file equals the concatenation of its `blocks`. A stretch
    that is resampled is decoded from a little before its start, and equals the slice of the
    whole up to rounding.

    Raises:
        UserError: as `blocks`.
    """
    assert 0 <= start_s <= (start_s if end_s is None else end_s), (start_s, end_s)
    with kept.local(path) as path, opened(path, rules) as (sound, _):
        source_hz, rate = sound.samplerate, rate_hz or sound.samplerate
        first = round(start_s * rate)
        stop = None if end_s is None else round(end_s * rate)
        # Decoding starts where a sample of the one rate falls on a sample of the other, so that
        # the stretch has the same phase as the whole.
        step = source_hz // math.gcd(source_hz, rate)
        reach = 0 if rate == source_hz else _FILTER_REACH * max(1, math.ceil(source_hz / rate))
        head = max(0, first * source_hz // rate - reach) // step * step
        if head >= _length(path, sound):
            return np.zeros(0, np.float32)
        skip = first - head * rate // source_hz
        need = None if stop is None else skip + stop - first
        parts, have = [np.zeros(0, np.float32)], 0
        for part in _resampled(path, sound, rules, rate, head=head):
            parts.append(part)
            have += len(part)
            if need is not None and have >= need:
                break
        return np.ascontiguousarray(np.concatenate(parts)[skip:need])


def content_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file's bytes, in hex. `preprocessing.recordings` remembers it."""
    with kept.local(path) as path:
        refuse_irregular(path)
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()


def _fault(path: Path, sound: soundfile.SoundFile, layout: Layout) -> tuple[str, str, int]:
    """What is wrong with files like this, and with this one, and how many frames it has."""
    frames, pages = _length(path, sound), ogg_pages(path) if sound.format == "OGG" else None
    if pages is not None and pages.links:
        return *pages.fault(path, sound), frames
    if layout is not None and (isinstance(layout, Mended) or layout.raw):
        return layout.fault, layout.note, frames
    if not (has_start(sound) and has_end(sound)):
        with opened(path) as (fresh, _):  # whatever seeking has done to the other
            frames = sum(len(x_TC) for x_TC in _chunks(path, fresh, head=0))
        if not frames:
            raise UserError(f"{path}: damaged from its head on; copy it again, or remove it")
        ends_s, promised_s = frames / sound.samplerate, sound.frames / sound.samplerate
        if frames < sound.frames:
            note = f"it ends at {ends_s:.3f} s of {promised_s:.3f} s; read to there"
            return ENDS_EARLY, note, frames
    if layout is not None:
        return layout.fault, layout.note, frames
    if pages is not None:
        return *pages.fault(path, sound), frames
    if sound.format in ("AIFF", "AU") and form_is_cut(path):
        return ENDS_EARLY, f"it ends before its header says; {TO_THE_END}", frames
    return "", "", frames


def _length(path: str | os.PathLike[str], sound: soundfile.SoundFile) -> int:
    """Its frames, with those of recordings that follow it in the same file."""
    pages = ogg_pages(path) if sound.format == "OGG" else None
    last = pages.spans(path, sound)[-1:] if pages is not None and pages.links else []
    return max([sound.frames, *(span.first + span.frames for span in last)])


def _chunks(
    path: str | os.PathLike[str], sound: soundfile.SoundFile, *, head: int
) -> Iterator[np.ndarray]:
    """The file's samples (T, C) from frame ``head`` to its end.

    What cannot be decoded is silence, and ends where decoding succeeds again, or with the file.
    """
    pages = ogg_pages(path) if sound.format == "OGG" else None
    if pages is not None and (spans := pages.spans(path, sound)):
        yield from _around_gaps(path, sound, spans, head)
        return
    position = head
    try:
        for x_TC in _decoding(sound, head, _CHUNK):
            yield x_TC
            position += len(x_TC)
    except soundfile.LibsndfileError:
        yield from _around_damage(path, position)


def _decoding(sound: soundfile.SoundFile, first: int, size: int) -> Iterator[np.ndarray]:
    noisy = sound.format == "MP3"
    with quiet_decoder(noisy):
        if first > 0:
            sound.seek(first)
    while True:
        with quiet_decoder(noisy):
            x_TC = decoded(sound, size)
        if not len(x_TC):
            return
        yield x_TC


def _around_gaps(
    path: str | os.PathLike[str], sound: soundfile.SoundFile, spans: list[Span], position: int
) -> Iterator[np.ndarray]:
    """What there is from a frame on, each part in its place, with silence where there is none."""
    for first, frames, part in spans:
        yield from _silence(first - position, sound.channels)
        position = max(position, first)
        if position < first + frames:
            with part.open(path) as there:
                there.seek(0)  # before that, libsndfile is early in an Opus without its beginning
                for x_TC in _decoding(there, position - first, _CHUNK):
                    yield x_TC
                    position += len(x_TC)
    yield from _silence(sound.frames - position, sound.channels)


def _silence(frames: int, channels: int) -> Iterator[np.ndarray]:
    for first in range(0, frames, _CHUNK):
        yield np.zeros((min(_CHUNK, frames - first), channels), np.float32)


def _around_damage(path: str | os.PathLike[str], position: int) -> Iterator[np.ndarray]:
    """What can be decoded from a frame on, with silence where nothing can."""
    gap, told = 0, False
    with opened(path) as (header, _):
        frames, channels, rate_hz = header.frames, header.channels, header.samplerate
        whole = has_end(header)
    while position + gap < frames:
        try:
            with opened(path) as (sound, _):
                for x_TC in _decoding(sound, position + gap, _SMALL_CHUNK):
                    if gap:
                        yield np.zeros((gap, channels), np.float32)
                        position, gap = position + gap, 0
                    yield x_TC
                    position += len(x_TC)
            return
        except soundfile.LibsndfileError:
            if not whole:  # there is nothing after it
                return
            gap += _SKIP
            if not told:
                _tell(path, f"damaged at {position / rate_hz:.3f} s; silence stands for it")
                told = True


_TOLD: set[tuple[str, str]] = set()


def _tell(path: str | os.PathLike[str], what: str) -> None:
    """Say once in a process what was repaired of a file."""
    if (str(path), what) not in _TOLD:
        _TOLD.add((str(path), what))
        print(on_one_line(f"note: {kept.name_of(path)}: {what}"), file=sys.stderr)


def _mono(
    path: str | os.PathLike[str], sound: soundfile.SoundFile, rules: AudioRules, *, head: int
) -> Iterator[np.ndarray]:
    """The file's samples from frame ``head`` to its end, of one channel or the mean of all."""
    position, chosen = head, _chosen(path, sound.channels, rules)
    for x_TC in _chunks(path, sound, head=head):
        x_T = _mean(x_TC) if chosen is None else np.ascontiguousarray(x_TC[:, chosen])
        # A sum is the cheapest pass that a NaN or an infinity cannot hide from.
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(x_T.sum())
        if not finite:
            _refuse_nan(path, x_TC, position, sound.samplerate)
        yield x_T
        position += len(x_T)
    if position < promised(sound) and position < _frames(path):
        ends_s, promised_s = position / sound.samplerate, sound.frames / sound.samplerate
        _tell(path, f"it gives {ends_s:.3f} s of {promised_s:.3f} s; read so far")


def _frames(path: str | os.PathLike[str]) -> int:
    with opened(path) as (sound, layout):
        return _fault(Path(path), sound, layout)[2]


def _mean(x_TC: np.ndarray) -> np.ndarray:
    # One pass per channel is several times faster than a mean over a short last axis.
    x_T = x_TC[:, 0] if x_TC.shape[1] == 1 else np.add(x_TC[:, 0], x_TC[:, 1])
    for channel in range(2, x_TC.shape[1]):
        x_T += x_TC[:, channel]
    if x_TC.shape[1] > 1:
        x_T *= np.float32(1 / x_TC.shape[1])
    return x_T


def _chosen(path: str | os.PathLike[str], channels: int, rules: AudioRules) -> int | None:
    """The channel that is read, from 0; None: the mean of all."""
    wanted = rules.channel
    if wanted == "mix" or (channels == 1 and not isinstance(wanted, int)):
        return None
    if wanted == "auto":
        return _uncancelled(path)
    number = {"left": 1, "right": 2}.get(str(wanted)) or int(wanted)
    if number > channels:
        raise UserError(
            f"{path}: has {counted(channels, 'channel')}, and audio.channel={wanted} "
            "asks for another"
        )
    return number - 1


@once_per_file(1 << 16)
def _uncancelled(path: str) -> int | None:
    """The loudest channel where the mean of all cancels; None where it does not."""
    parts = []
    with opened(path) as (sound, _):
        step = max(_PROBE, sound.frames // _PROBES)
        try:
            for start in range(0, max(1, sound.frames - _PROBE // 2), step):
                with quiet_decoder(sound.format == "MP3"):
                    sound.seek(start)
                    parts.append(decoded(sound, _PROBE, "float64"))
        except soundfile.LibsndfileError:
            pass  # damaged: whoever reads it will know
    powers_PC = np.array([np.square(x_TC).sum(axis=0) for x_TC in parts])
    means_P = np.array([np.square(x_TC.mean(axis=1)).sum() for x_TC in parts])
    if not powers_PC.size:
        return None
    total_P, channels = powers_PC.sum(axis=1), powers_PC.shape[1]
    # Of channels that have nothing to do with each other, the powers add; one stretch is enough.
    gone_P = (means_P < _CANCELLED * total_P / channels**2) & (total_P > _LOUD * total_P.max())
    return int(powers_PC.sum(axis=0).argmax()) if gone_P.any() else None


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
    path: str | os.PathLike[str], sound: soundfile.SoundFile, rules: AudioRules, rate: int, *, head:
    int = 0,
) -> Iterator[np.ndarray]:  # fmt: skip
    mono = without_holds(_mono(path, sound, rules, head=head), sound.samplerate)
    if rate == sound.samplerate:
        yield from mono
        return
    stream = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32", quality="HQ")
    most = max(1, _MOST_RESAMPLED * sound.samplerate // rate)
    for x_T in mono:
        for first in range(0, len(x_T), most):
            yield stream.resample_chunk(x_T[first : first + most])
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _reblock(parts: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Cut a stream of arrays into blocks of ``size`` samples; the last may be shorter."""
    held, filled = [], 0  # no more than there is: a header may say any rate
    for part in parts:
        taken = 0
        while taken < len(part):
            held.append(part[taken : taken + size - filled])
            filled, taken = filled + len(held[-1]), taken + len(held[-1])
            if filled == size:
                yield np.concatenate(held)
                held, filled = [], 0
    if filled:
        yield np.concatenate(held)
