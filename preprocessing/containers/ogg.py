"""Which pages of an Ogg are whole, and where those that follow a lost one belong in time."""

import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import soundfile

from g5.common.files import once_per_file
from preprocessing.containers.stretch import DAMAGED, ENDS_EARLY, TO_THE_END, Mended

_HEAD = 27  # bytes of a page before the sizes of its segments
_FIRST, _LAST = 2, 4  # flags of a stream's first page, and of its last one
_MIXED = "hold several recordings, some of which are left out"
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_OPUS_HZ = 48000  # in which Opus counts, whatever it is played at


class _Page(NamedTuple):
    first: int
    end: int
    flags: int
    granule: int  # samples up to its end; 0 in the stream's head, -1 where no packet ends
    stream: int
    number: int


class Span(NamedTuple):
    """A part of an Ogg without gaps: it is read by itself.

    Attributes:
        first, frames: where it lies in the whole recording.
        part: as libsndfile has to be shown it.
    """

    first: int
    frames: int
    part: Mended


class Ogg(NamedTuple):
    """The pages that are whole.

    Attributes:
        first, end: the bytes of the recording.
        cut: the last page, which is marked as such, is missing.
        head: where what says what the stream is ends.
        runs: of pages without a gap: where they begin and end, their last count of samples.
        begins: whether the first run is the recording's beginning.
        opus: whether samples are counted at `_OPUS_HZ`.
        links: the recordings of a file that holds several, one after another.
    """

    first: int
    end: int
    cut: bool
    head: int = 0
    runs: tuple[tuple[int, int, int], ...] = ()
    begins: bool = True
    opus: bool = False
    links: tuple["Ogg", ...] = ()

    @property
    def alone(self) -> Mended:
        """It, without what lies before and after it."""
        return Mended(((self.first, self.end - self.first),), "", "")

    def spans(self, path: str | os.PathLike[str], sound: soundfile.SoundFile) -> list[Span]:
        """What is left of a recording with gaps, or is in one of several; nothing of another.

        Args:
            path: the file.
            sound: it, opened; of several recordings the first one.
        """
        spans, at = [], 0
        for frames, inside in self._alike(path, sound):
            spans += [span._replace(first=at + span.first) for span in inside]
            at += frames
        if len(self.runs) < 2:
            return spans
        last = self.runs[-1][2]
        per_sample = sound.samplerate / _OPUS_HZ if self.opus else 1
        for number, (first, end, granule) in enumerate(self.runs):
            head = self.first, self.head - self.first
            part = Mended((head, (first, end - first)), "", "")
            try:
                with part.open(path) as run:
                    frames = run.frames
            except soundfile.LibsndfileError:
                continue  # a rest of one packet: silence, as what is lost
            at = sound.frames - round((last - granule) * per_sample) - frames
            spans.append(Span(max(0, at) if number else 0, frames, part))
        return spans

    def _alike(
        self, path: str | os.PathLike[str], sound: soundfile.SoundFile
    ) -> list[tuple[int, list[Span]]]:
        """Of the recordings that are like the first one, how many frames there are, and where."""
        found = []
        for link in self.links:
            try:
                with link.alone.open(path) as one:
                    if (one.samplerate, one.channels) == (sound.samplerate, sound.channels):
                        inside = link.spans(path, one) or [Span(0, one.frames, link.alone)]
                        found.append((one.frames, inside))
            except soundfile.LibsndfileError:
                continue  # no more than a head
        return found

    def fault(self, path: str | os.PathLike[str], sound: soundfile.SoundFile) -> tuple[str, str]:
        """What is wrong with files like this, and with this one; arguments as of `spans`."""
        notes, at, gaps = [], 0, []
        for span in self.spans(path, sound):
            gaps += [(at, span.first - at)] * (span.first > at)
            at = max(at, span.first + span.frames)
        if gaps:
            at_s, lost_s = (n / sound.samplerate for n in (gaps[0][0], sum(n for _, n in gaps)))
            where = f"in {len(gaps)} places, the first at {at_s:.3f} s"
            where = where if len(gaps) > 1 else f"from {at_s:.3f} s on"
            notes.append(f"it lacks {lost_s:.3f} s {where}; silence stands for it")
        others = len(self.links) - len(self._alike(path, sound))
        if others:
            notes.append(
                f"it holds {len(self.links)} recordings one after another; {others} left out, of "
                "another rate or number of channels, or damaged"
            )
        if not self.begins:
            notes.append("its beginning is missing; times count from what is there")
        if self.cut:
            notes.append(f"its last page is missing; {TO_THE_END}")
        damaged = DAMAGED if gaps or not self.begins else ENDS_EARLY if self.cut else ""
        return _MIXED if others else damaged, "; ".join(notes)


@once_per_file(1 << 12)
def ogg_pages(path: str) -> Ogg | None:
    """The pages of an Ogg; None for everything else."""
    if os.path.getsize(path) < _HEAD:
        return None
    with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != b"OggS":
            return None
        pages = list(_pages(data))
        # A recording begins where a stream does; those that begin together are one recording's.
        starts = [
            at for at, page in enumerate(pages)
            if page.flags & _FIRST and not (at and pages[at - 1].flags & _FIRST)
        ]  # fmt: skip
        whole = _of_pages(data, pages)
        if len(starts) < 2:
            return whole
        parts = [pages[at:end] for at, end in pairwise([*starts, len(pages)])]
        links = tuple(_of_pages(data, part) for part in parts)
        return Ogg(0, whole.end, any(link.cut for link in links), links=links)


def first_ogg(path: str | os.PathLike[str]) -> Mended | None:
    """The first recording of an Ogg that holds several, of which libsndfile counts samples wrongly;
    None for everything else."""
    pages = ogg_pages(path)
    return pages.links[0].alone if pages is not None and pages.links else None


def _of_pages(data: mmap.mmap, pages: Sequence[_Page]) -> Ogg:
    """One recording."""
    cut = not pages or not pages[-1].flags & _LAST
    bounds = (pages[0].first, pages[-1].end) if pages else (0, len(data))
    head = next((n for n, page in enumerate(pages) if page.granule > 0), len(pages))
    if head in (0, len(pages)) or len({page.stream for page in pages}) > 1:
        return Ogg(*bounds, cut)
    opus = data.find(b"OpusHead", pages[0].first, pages[0].end) >= 0
    before, runs = pages[head - 1].number, []
    begins = pages[head].number == before + 1
    for page in pages[head:]:
        if runs and page.number == before + 1:
            runs[-1] = runs[-1][0], page.end, max(runs[-1][2], page.granule)
        else:
            runs.append((page.first, page.end, page.granule))
        before = page.number
    kept = tuple(run for run in runs if run[2] > 0)
    return Ogg(*bounds, cut, pages[head - 1].end, kept, begins, opus)


def _pages(data: mmap.mmap) -> Iterator[_Page]:
    """Whole pages: libogg leaves out what does not sum up to what it says, too."""
    at = 0
    while (at := data.find(b"OggS", at)) >= 0:
        head = data[at : at + _HEAD + 255]
        size = len(head) if len(head) < _HEAD else _HEAD + head[26]
        size += sum(head[_HEAD:size])
        page = data[at : at + size]
        if len(page) == size >= _HEAD and _sum(page) == page[22:26]:
            flags, granule, stream, number = struct.unpack_from("<5xBqII", page)
            yield _Page(at, at + size, flags, granule, stream, number)
            at += size
        else:
            at += 1


def _sum(page: bytes) -> bytes:
    """A page's check sum: a CRC that takes bits in the other order than zlib's."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED)
    found = ~zlib.crc32(mirrored, 0xFFFFFFFF) & 0xFFFFFFFF
    return found.to_bytes(4, "big").translate(_MIRRORED)
