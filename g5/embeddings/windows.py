"""Recordings to the windows that an encoder takes, with features and statistics of the whole.

How a recording is cut into blocks does not show: frames are those of the whole recording, and
where an encoder wants its features normalised by recording, it is the whole recording's mean and
deviation, as in training.

Shapes: S samples of a window, B windows, M mel bands, T frames.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from g5.embeddings.encoders.loaded import LoadedEncoder
from preprocessing import audio
from preprocessing.audio_rules import AudioRules
from preprocessing.features import Moments
from preprocessing.normalize import recording_stats
from preprocessing.silence import silent_frames, silent_samples, sounding

# Features of a recording that wait for its mean and deviation: what is more goes into a file
# (80 MB an hour with 128 bands).
KEPT_BYTES = 64 * 2**20


@dataclass
class Batch:
    """Windows of one recording that the encoder takes at once.

    Attributes:
        x: samples (B, S) or features (B, 1, M, T), not normalised.
        stats_2: mean and deviation of the recording's features; None where nobody asks.
        start_s, end_s: (B,).
        last: it is the recording's last.
    """

    x: Tensor
    stats_2: Tensor | None
    start_s: np.ndarray
    end_s: np.ndarray
    last: bool


def window_starts(n_samples: int, window: int, hop: int) -> np.ndarray:
    """First samples of the windows of a recording; a rest of half a window or more is one, too."""
    if n_samples <= window:
        return np.zeros(1, np.int64)
    count = 1 + (n_samples - window) // hop
    rest = n_samples - (count - 1) * hop - max(window, hop)
    return np.arange(count + (rest >= window / 2), dtype=np.int64) * hop


def without_silence(x: Tensor, silent: Tensor) -> tuple[Tensor, Tensor]:
    """Windows (B, T, ...) that are not all digital silence, and which (B,) these are.

    Of one that is partly silent (``silent`` (B, T)), what sounds is repeated in its place.
    """
    kept = ~silent.all(dim=1)
    for window in torch.nonzero(silent.any(dim=1) & kept)[:, 0].tolist():
        x[window] = sounding(x[window], silent[window])
    return x[kept], kept


class Windows:
    """Cuts recordings for one encoder.

    Sound that is shorter than a window is repeated: silence beside a call is nothing the encoder
    has heard. So is what sounds of a window that is partly digital silence; one that is nothing
    else is left out.

    Args:
        encoder: whose windows.
        rules: how recordings are read.
        hop_s: seconds between windows; None: without overlap.
        batch_size: windows in a batch.
        block_s: seconds decoded at once.
        alone: windows are samples, and each is heard as a recording of its own.
    """

    def __init__(
        self, encoder: LoadedEncoder, rules: AudioRules, *, hop_s: float | None, batch_size: int,
        block_s: float, alone: bool = False,
    ) -> None:  # fmt: skip
        self._sr, self._window = encoder.sr, encoder.window_samples
        self._hop = max(round((hop_s or encoder.window_s) * encoder.sr), 1)
        self._front_end = None if alone else encoder.front_end
        self._batch_size, self._block_s, self._rules = batch_size, block_s, rules
        normalize = None if alone else encoder.normalize
        self._by_recording = normalize is not None and normalize.mode == "recording"
        # Rows of what is cut: samples, or frames.
        self._hop_rows = 1 if self._front_end is None else self._front_end.hop_mel
        self._rows = max(round(self._window / self._hop_rows), 1)

    def count(self, seconds: float) -> int:
        """Batches of a recording of that length."""
        starts = window_starts(round(seconds * self._sr), self._window, self._hop)
        return -(-len(starts) // self._batch_size)

    def batches(self, file: str | os.PathLike[str]) -> Iterator[Batch]:
        """The windows of a recording, in order.

        Raises:
            UserError: it cannot be read, to the end.
        """
        tape, done, stats_2 = _Tape(), 0, None
        recording = _Recording(Path(file))
        if self._front_end is None:
            pieces = self._samples(recording)
        elif self._by_recording:
            pieces, stats_2 = self._known(recording)
        else:
            pieces = self._features(recording, None)
        for piece in pieces:
            tape.add(piece)
            # One batch is held back: the last one has to know that it is.
            while self._ready(recording.samples, tape.end, done + self._batch_size + 1):
                yield self._batch(tape, recording, done, done + self._batch_size, stats_2)
                done += self._batch_size
        total = len(window_starts(recording.samples, self._window, self._hop))
        while done < total:
            stop = min(done + self._batch_size, total)
            yield self._batch(tape, recording, done, stop, stats_2, last=stop == total)
            done = stop

    def stats(self, file: str | os.PathLike[str]) -> Tensor | None:
        """Mean and deviation of a recording's features, where the encoder wants them."""
        if not self._by_recording:
            return None
        moments = Moments()
        for _ in self._features(_Recording(Path(file)), moments):
            pass
        assert self._front_end is not None
        return _stats(moments, self._front_end.channels)

    def of(self, samples: np.ndarray) -> Tensor:
        """The windows of some sound without overlap, (B, S) or (B, 1, M, T), not normalised."""
        starts = window_starts(len(samples), self._window, self._window)
        last = int(starts[-1])
        rest = np.resize(samples[last:], self._window)
        wave = torch.from_numpy(np.concatenate([samples[:last], rest]))
        tape, front_end = _Tape(), self._front_end
        if front_end is not None:
            wave = front_end(wave.to(front_end.window_N.device)).T.cpu()
        tape.add(wave)
        return self._cut(tape, starts)[0]

    def _cut(self, tape: "_Tape", starts: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """The windows that are not all digital silence, and which these are."""
        x = tape.cut([round(start / self._hop_rows) for start in starts.tolist()], self._rows)
        if self._front_end is None:
            silent = torch.stack([silent_samples(x_S, self._sr) for x_S in x])
        else:
            silent = silent_frames(x, self._front_end.channels)
        x, kept = without_silence(x, silent)
        if self._front_end is not None:
            x = x.float().transpose(1, 2)[:, None].contiguous()
        return x, kept.numpy()

    def _ready(self, samples: int, rows: int, count: int) -> bool:
        """Whether ``count`` windows are whole."""
        last = (count - 1) * self._hop
        there = round(last / self._hop_rows) + self._rows <= rows
        return there and last + self._window <= samples

    def _batch(
        self, tape: "_Tape", recording: "_Recording", first: int, stop: int,
        stats_2: Tensor | None, last: bool = False,
    ) -> Batch:  # fmt: skip
        starts = np.arange(first, stop) * self._hop
        x, kept = self._cut(tape, starts)
        starts = starts[kept]
        ends = np.minimum(starts + self._window, recording.samples)
        return Batch(x, stats_2, starts / self._sr, ends / self._sr, last)

    def _samples(self, recording: "_Recording") -> Iterator[Tensor]:
        """The sound block by block, with the last window's rest repeated to a whole window."""
        tail = np.zeros(0, np.float32)
        for samples in audio.blocks(
            recording.path, self._rules, block_s=self._block_s, rate_hz=self._sr
        ):
            recording.samples += len(samples)
            tail = np.concatenate([tail, samples])[-self._window :]
            yield torch.from_numpy(samples)
        start = int(window_starts(recording.samples, self._window, self._hop)[-1])
        there = recording.samples - start
        if there < self._window:
            yield torch.from_numpy(np.resize(tail[-there:], self._window)[there:])

    def _features(self, recording: "_Recording", moments: Moments | None) -> Iterator[Tensor]:
        """The features piece by piece, (T, M); ``moments`` takes those that are no repetition."""
        front_end = self._front_end
        assert front_end is not None
        stream, frames = front_end.stream(), 0
        for samples in chain(self._samples(recording), [None]):
            x_MT = stream.finish() if samples is None else stream.push(samples)
            x_TM = x_MT.T.cpu()
            if moments is not None:
                own = 1 + recording.samples // front_end.hop_mel - frames
                own = max(own, 0)
                moments.update(x_TM[:own], stream.silent_T[:own])
            frames += len(x_TM)
            yield x_TM

    def _known(self, recording: "_Recording") -> tuple[Iterator[Tensor], Tensor]:
        """The features once more, when their mean and deviation are known; fp16, as stored."""
        assert self._front_end is not None
        moments = Moments()
        kept = tempfile.SpooledTemporaryFile(KEPT_BYTES)  # noqa: SIM115  `again` closes it
        for x_TM in self._features(recording, moments):
            kept.write(x_TM.half().numpy().tobytes())
        kept.seek(0)
        width, frames = self._front_end.width, round(self._block_s * self._sr / self._hop_rows)

        def again() -> Iterator[Tensor]:
            with kept:
                while content := kept.read(2 * width * max(frames, 1)):
                    yield torch.frombuffer(bytearray(content), dtype=torch.float16).view(-1, width)

        return again(), _stats(moments, self._front_end.channels)


@dataclass
class _Recording:
    """A recording that is being read, and how many of its samples have been."""

    path: Path
    samples: int = 0


class _Tape:
    """Rows that arrive in pieces; those before the last cut are forgotten."""

    def __init__(self) -> None:
        self._first, self._rows = 0, torch.zeros(0)

    @property
    def end(self) -> int:
        return self._first + len(self._rows)

    def add(self, rows: Tensor) -> None:
        self._rows = torch.cat([self._rows, rows]) if len(self._rows) else rows

    def cut(self, firsts: list[int], length: int) -> Tensor:
        """Pieces of ``length`` rows; later cuts begin no earlier."""
        skip = firsts[0] - self._first
        self._first, self._rows = firsts[0], self._rows[skip:]
        return torch.stack([self._rows[f - firsts[0] :][:length] for f in firsts])


def _stats(moments: Moments, channels: int) -> Tensor:
    meta = moments.meta()
    return torch.tensor(recording_stats(meta, channels))
