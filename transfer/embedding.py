"""Recordings to embeddings in a store: window by window, resumable, decoding beside the encoder.

Shapes: S samples, B windows, M mel bands, T frames, N windows of a recording, D embedding width.
"""

import math
import os
import queue
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from conf.check import Count, Positive
from preprocessing import audio
from preprocessing.errors import UserError
from preprocessing.normalize import scalar_stats
from preprocessing.progress import track
from preprocessing.recordings import is_audio, walk
from transfer.encoders import LoadedEncoder
from transfer.vectors import VectorStore

FAILURES_NAMED = 5
# Blocks decoded ahead of the encoder.
AHEAD = 3
# What recorders put into file names: 20240501_053000, 2024-05-01.
DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass
class EmbedSettings:
    """`embed` of `conf/transfer.yaml`."""

    hop_s: Positive | None
    batch_size: Count
    block_s: Positive
    device: Literal["auto", "cpu", "cuda"]


@dataclass
class _Block:
    """Windows of one recording that the encoder takes next."""

    file: str
    x: Tensor  # (B, S) or (B, 1, M, T)
    start_s: np.ndarray
    end_s: np.ndarray
    key: str
    last: bool


def find_recordings(paths: Sequence[str | os.PathLike[str]]) -> tuple[Path, list[Path]]:
    """The sound files at and below ``paths``, sorted, and the folder they have in common.

    Raises:
        UserError: a path that is not there, or no sound files at all.
    """
    files: set[Path] = set()
    for path in map(Path, paths):
        if path.is_dir():
            files.update(file for file in walk(path) if is_audio(file))
        elif path.exists():
            files.add(path)
        else:
            raise UserError(f"{path}: there is no such file or folder")
    if not files:
        raise UserError(f"{', '.join(map(str, paths))}: no recordings there")
    if len(paths) == 1 and Path(paths[0]).is_dir():
        root = Path(paths[0]).absolute()
    else:
        root = Path(os.path.commonpath([str(file.absolute().parent) for file in files]))
    return root, sorted(file.absolute() for file in files)


def embed_recordings(
    encoder: LoadedEncoder,
    store: VectorStore,
    files: Sequence[Path],
    root: Path,
    settings: EmbedSettings,
) -> tuple[int, list[str]]:
    """Embed every recording that the store does not have yet.

    A recording is one block, added when it is whole: killed at any point, it goes on where it
    stopped.

    Args:
        encoder: on any device.
        store: of this encoder.
        files: absolute paths.
        root: the folder that the store's file names are relative to.
        settings: window hop, batch, block.

    Returns:
        How many recordings were added, and a line for each that could not be.
    """
    device = device_of(settings.device)
    encoder.to(device)
    todo, problems = _missing(store, files, root)
    added = 0
    with store.writer() as writer, torch.inference_mode():
        stream = _Stream(encoder, todo, settings, problems)
        parts: list[np.ndarray] = []
        starts: list[np.ndarray] = []
        ends: list[np.ndarray] = []
        count = stream.total_blocks
        for block in track(stream, total=count, label="embedding", unit="blocks"):
            if not block.key:  # a recording that is damaged further on
                parts, starts, ends = [], [], []
                continue
            parts.append(_embedded(encoder, block.x, settings.batch_size, device))
            starts.append(block.start_s)
            ends.append(block.end_s)
            if not block.last:
                continue
            index = pd.DataFrame({"start_s": np.concatenate(starts), "end_s": np.concatenate(ends)})
            index["file"], index["source"] = block.file, source_of(block.file)
            index["date"] = date_of(block.file)
            vectors = np.concatenate(parts)
            parts, starts, ends = [], [], []
            if np.isfinite(vectors).all():
                writer.add(block.key, vectors, index)
                added += 1
            else:
                problems.append(f"{block.file}: {encoder.name} gives NaN or infinity for it")
    return added, problems


def embed_stretch(
    encoder: LoadedEncoder, file: str | os.PathLike[str], start_s: float, end_s: float | None
) -> np.ndarray:
    """The mean embedding (D,) of a stretch of a recording, window by window."""
    samples = audio.read(file, start_s=start_s, end_s=end_s, rate_hz=encoder.sr)
    if not len(samples):
        raise UserError(f"{file}: has no sound from {start_s:g} s on")
    starts = window_starts(len(samples), encoder.window_samples, encoder.window_samples)
    device = next(iter(encoder.module.parameters()), torch.zeros(0)).device
    with torch.inference_mode():
        x = _windows(encoder, samples, starts)
        return _embedded(encoder, x, 64, device).mean(axis=0)


def window_starts(n_samples: int, window: int, hop: int) -> np.ndarray:
    """First samples of the windows of a recording; a rest of half a window or more is one, too."""
    if n_samples <= window:
        return np.zeros(1, np.int64)
    count = 1 + (n_samples - window) // hop
    starts = np.arange(count, dtype=np.int64) * hop
    rest = n_samples - (starts[-1] + window)
    if rest >= window / 2:
        starts = np.append(starts, starts[-1] + hop if hop < window else starts[-1] + window)
    return starts


def device_of(name: str) -> torch.device:
    """``auto`` is CUDA where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("embed.device=cuda: there is no CUDA device; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def date_of(file: str) -> str:
    """The date in a file name, as 2024-05-01; "" where there is none."""
    found = DATE.search(Path(file).stem)
    return "-".join(found.groups()) if found else ""


def source_of(file: str) -> str:
    """The recording's folder, or its own name where it lies at the root."""
    folder = Path(file).parent.as_posix()
    return Path(file).stem if folder == "." else folder


def _missing(
    store: VectorStore, files: Sequence[Path], root: Path
) -> tuple[list[tuple[Path, str, str]], list[str]]:
    """Recordings that the store lacks, each with its name there and its key."""
    known = {name.partition(":")[2]: name for name in store.keys}
    todo, problems = [], []
    for file in files:
        name = Path(os.path.relpath(file, root)).as_posix()
        try:
            key = f"{audio.content_hash(file)[:32]}:{name}"
        except OSError as error:
            problems.append(f"{file}: cannot be opened ({error.strerror})")
            continue
        if key in store:
            continue
        if name in known:
            problems.append(
                f"{file}: has changed since it was embedded; its old embeddings are kept, and the "
                "new sound wants another store"
            )
            continue
        todo.append((file, name, key))
    return todo, problems


class _Stream:
    """Windows of all recordings in order, decoded by a thread while the encoder works."""

    def __init__(
        self,
        encoder: LoadedEncoder,
        todo: Sequence[tuple[Path, str, str]],
        settings: EmbedSettings,
        problems: list[str],
    ) -> None:
        self._encoder = encoder
        self._settings = settings
        self._problems = problems
        self._todo = []
        self.total_blocks = 0
        for entry in todo:
            try:
                seconds = audio.info(entry[0]).duration_s
            except UserError as error:
                problems.append(str(error))
                continue
            self._todo.append(entry)
            self.total_blocks += math.ceil(seconds / self._block_s)
        self._queue: queue.Queue[_Block | BaseException | None] = queue.Queue(AHEAD)
        self._stop = threading.Event()

    @property
    def _block_s(self) -> float:
        """A whole number of windows."""
        window_s = self._encoder.window_s
        return max(1, round(self._settings.block_s / window_s)) * window_s

    def __iter__(self) -> Iterator[_Block]:
        thread = threading.Thread(target=self._decode, name="decoding", daemon=True)
        threads = torch.get_num_threads()
        thread.start()
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._stop.set()
            while thread.is_alive():
                with_room = not self._queue.empty()
                if with_room:
                    self._queue.get_nowait()
                thread.join(0.01)
            torch.set_num_threads(threads)

    def _decode(self) -> None:
        torch.set_num_threads(1)
        try:
            with torch.inference_mode():
                for file, name, key in self._todo:
                    self._one(file, name, key)
            self._put(None)
        except _Stopped:
            pass
        except BaseException as error:
            self._put(error)

    def _one(self, file: Path, name: str, key: str) -> None:
        """The blocks of one recording; a damaged one leaves none."""
        encoder = self._encoder
        window, hop = encoder.window_samples, self._hop
        carried, done = np.zeros(0, np.float32), 0
        ready: _Block | None = None
        try:
            for samples in audio.blocks(file, block_s=self._block_s, rate_hz=encoder.sr):
                carried = np.concatenate([carried, samples])
                whole = 1 + (len(carried) - window) // hop if len(carried) >= window else 0
                if whole:
                    if ready is not None:
                        self._put(ready)
                    starts = np.arange(whole) * hop
                    ready = self._block(name, key, carried, starts, done)
                    done += whole * hop
                    carried = carried[whole * hop :]
            if ready is None or len(carried) - max(window - hop, 0) >= window / 2:
                if ready is not None:
                    self._put(ready)
                ready = self._block(name, key, carried, np.zeros(1, np.int64), done)
        except UserError as error:
            # Blocks that are on their way must not be taken for the next recording's.
            self._problems.append(str(error))
            self._put(_Block(name, torch.zeros(0), np.zeros(0), np.zeros(0), "", False))
            return
        assert ready is not None
        ready.last = True
        self._put(ready)

    @property
    def _hop(self) -> int:
        hop_s = self._settings.hop_s
        return max(round((hop_s or self._encoder.window_s) * self._encoder.sr), 1)

    def _block(
        self, name: str, key: str, samples: np.ndarray, starts: np.ndarray, done: int
    ) -> _Block:
        sr, window = self._encoder.sr, self._encoder.window_samples
        start_s = (done + starts) / sr
        end_s = (done + np.minimum(starts + window, len(samples))) / sr
        return _Block(name, _windows(self._encoder, samples, starts), start_s, end_s, key, False)

    def _put(self, item: _Block | BaseException | None) -> None:
        while True:
            if self._stop.is_set():
                raise _Stopped
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue


class _Stopped(Exception):
    """The run is over before its time."""


def _windows(encoder: LoadedEncoder, samples: np.ndarray, starts: np.ndarray) -> Tensor:
    """What the encoder takes of the windows of a block: (B, S) or (B, 1, M, T).

    Sound that is shorter than a window is repeated: silence beside a call is nothing the encoder
    has heard. Features are extracted and normalised over the whole block, as in training.
    """
    window = encoder.window_samples
    need = int(starts[-1]) + window
    if len(samples) < need:
        rest = samples[int(starts[-1]) :]
        samples = np.concatenate([samples[: int(starts[-1])], np.resize(rest, window)])
    wave_S = torch.from_numpy(np.ascontiguousarray(samples[:need]))
    if encoder.front_end is None:
        return torch.stack([wave_S[start : start + window] for start in starts.tolist()])
    wave_S = wave_S.to(encoder.front_end.window_N.device)
    x_MT = encoder.front_end(wave_S)
    frames = max(round(encoder.window_s * encoder.front_end.frame_rate_hz), 1)
    firsts = np.minimum(np.round(starts / encoder.front_end.hop_mel), x_MT.shape[1] - frames)
    x_B1MT = torch.stack([x_MT[:, first : first + frames] for first in firsts.astype(int)])[:, None]
    if encoder.normalize is None:
        return x_B1MT
    stats_12 = scalar_stats(x_MT[None, None])
    return encoder.normalize(x_B1MT, stats_12.expand(len(x_B1MT), 2))


def _embedded(
    encoder: LoadedEncoder, x: Tensor, batch_size: int, device: torch.device
) -> np.ndarray:
    parts = [encoder.embed_inputs(part.to(device)).cpu() for part in x.split(batch_size)]
    return torch.cat(parts).numpy()
