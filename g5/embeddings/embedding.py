"""Recordings to embeddings in a store: window by window, resumable, decoding beside the encoder.

Shapes: B windows, D embedding width.
"""

import os
import re
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from g5.common.device import torch_device, torch_threads
from g5.common.elsewhere.places import place_of
from g5.common.errors import UserError
from g5.common.files import is_folder, sounds_at
from g5.common.progress import track
from g5.config.schema import EmbedSettings, EngineSettings
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.vectors import VectorStore
from g5.embeddings.windows import Batch, Windows
from g5.engine.jobs import Job, done
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL, AudioRules
from preprocessing.recordings import UNREADABLE, scan

# Batches of a thread that are decoded ahead of it.
AHEAD = 3
STRETCH_BATCH = 16
# So often what is embedded is put on the disk.
COMMIT_S = 60.0
# What recorders put into file names: 20240501_053000, 2024-05-01.
DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True)
class Part:
    """Batches of a recording: all, or those from ``first`` until before ``stop``.

    Attributes:
        path: of the recording.
        name: in the store.
        key: in the store.
        first: number of a batch.
        stop: None: to the end.
    """

    path: Path
    name: str
    key: str
    first: int = 0
    stop: int | None = None


@dataclass
class EmbeddedBatch:
    """Vectors (B, D) of a batch of windows and their times (B,)."""

    vectors: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    last: bool


def find_recordings(paths: Sequence[str | os.PathLike[str]]) -> tuple[Path, list[Path]]:
    """The sound files that ``paths`` mean (`sounds_at`), sorted, and the folder they share.

    Raises:
        UserError: a path that is not there, or no sound files at all.
    """
    files: set[Path] = set()
    places = [place_of(path).absolute() for path in paths]
    for place in places:
        files.update(sounds_at(place))
    if not files:
        raise UserError(f"{', '.join(map(str, paths))}: no recordings there")
    root = places[0] if len(places) == 1 and is_folder(places[0]) else _shared(files)
    return root, sorted(file.absolute() for file in files)


def _shared(files: Collection[Path]) -> Path:
    """The folder that all recordings lie below."""
    try:
        shared = os.path.commonpath([str(file.absolute().parent) for file in files])
    except ValueError:  # of the disk and elsewhere
        shared = ""
    if not shared:
        raise UserError("these recordings have no folder or server in common; give one store each")
    return place_of(shared)


def embed_recordings(
    encoder: LoadedEncoder, store: VectorStore, files: Sequence[Path], root: Path,
    settings: EmbedSettings, rules: AudioRules = READ_ALL, engine: EngineSettings | None = None,
    again: Callable[[], LoadedEncoder] | None = None, *, alone: bool = False,
) -> tuple[int, list[str]]:  # fmt: skip
    """Embed every recording that the store does not have yet.

    A recording is one block, added when it is whole: killed at any point, it goes on where it
    stopped.

    Args:
        encoder: on any device.
        store: of this encoder.
        files: absolute paths.
        root: the folder that the store's file names are relative to.
        settings: window hop, batch, block.
        rules: how recordings are read.
        engine: where the work is done; None: here.
        again: loads the encoder where that is elsewhere.
        alone: each window is heard as a recording of its own.

    Returns:
        How many recordings were added, and a line for each that could not be.
    """
    work = Embedding(settings, rules, encoder, again, encoder.hash(), alone)
    todo, total, problems = _missing(store, files, root, work.windows(encoder), rules)
    if engine is not None and engine.where != "local":
        todo = [part for job in todo for part in work.parts(encoder, job, engine.part_s)]
    added, failed, since_s = 0, "", time.monotonic()
    with store.writer() as writer:
        parts: list[EmbeddedBatch] = []
        stream = done(engine, todo, work)
        for job, part in track(stream, total=total, label="embedding", unit="batches"):
            name, key = job.what.name, job.what.key
            if key == failed:
                continue
            if isinstance(part, UserError):
                problems.append(str(part))
                parts, failed = [], key  # it is damaged further on
                continue
            parts.append(part)
            if not part.last:
                continue
            vectors = np.concatenate([part.vectors for part in parts])
            if not len(vectors):
                problems.append(f"{name}: is digital silence from end to end")
            elif np.isfinite(vectors).all():
                writer.add(key, vectors, _index(name, parts))
                added += 1
            else:
                problems.append(f"{name}: {encoder.name} gives NaN or infinity for it")
            parts = []
            if time.monotonic() > since_s + COMMIT_S:
                writer.commit()
                since_s = time.monotonic()
    return added, problems


@dataclass
class Embedding:
    """Makes what embeds parts of recordings, here or in another process (`g5.engine`).

    Attributes:
        settings: window hop, batch, block, device.
        rules: how recordings are read.
        encoder: stays in this process.
        again: loads it in another.
        hash: what the encoder must have there, too.
        alone: each window is heard as a recording of its own.
    """

    settings: EmbedSettings
    rules: AudioRules
    encoder: LoadedEncoder | None
    again: Callable[[], LoadedEncoder] | None
    hash: str
    alone: bool

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "encoder": None}

    def windows(self, encoder: LoadedEncoder) -> Windows:
        """How recordings are cut."""
        own = self.settings
        return Windows(
            encoder, self.rules, hop_s=own.hop_s, batch_size=own.batch_size, block_s=own.block_s,
            alone=self.alone,
        )  # fmt: skip

    def parts(self, encoder: LoadedEncoder, job: Job[Part], part_s: float) -> list[Job[Part]]:
        """A recording as several jobs, where it is long. Each reads it from the start."""
        windows = self.windows(encoder)
        step = max(windows.count(part_s), 1)
        edges = [*range(0, max(windows.count(job.seconds) - step // 2, 1), step), None]
        return [
            Job(replace(job.what, first=first or 0, stop=stop), job.name, min(job.seconds, part_s))
            for first, stop in pairwise(edges)
        ]

    def __call__(self) -> Callable[[Iterable[Job[Part]]], Iterator[tuple[Job[Part], Any]]]:
        encoder = self.encoder
        if encoder is None:
            assert self.again is not None
            encoder = self.again()
            if encoder.hash() != self.hash:
                raise UserError(f"{encoder.name}: is another encoder on the workers than here")
        device = torch_device(self.settings.device, "embed.device")
        encoder.to(device)
        return partial(_embedded_in_order, encoder, self.windows(encoder), device)


def embed_stretch(
    encoder: LoadedEncoder, file: str | os.PathLike[str], start_s: float, end_s: float | None,
    rules: AudioRules = READ_ALL,
) -> np.ndarray:  # fmt: skip
    """The mean embedding (D,) of a stretch of a recording, window by window.

    Features are normalised as those of the stores are: by the whole recording, if by recording.
    """
    samples = audio.read(file, rules, start_s=start_s, end_s=end_s, rate_hz=encoder.sr)
    if not len(samples):
        raise UserError(f"{file}: has no sound from {start_s:g} s on")
    windows = Windows(encoder, rules, hop_s=None, batch_size=1, block_s=60.0)
    device = next(iter(encoder.module.parameters()), torch.zeros(0)).device
    with torch.inference_mode():
        x, stats_2 = windows.of(samples), windows.stats(file)
    if not len(x):
        raise UserError(f"{file}: is digital silence from {start_s:g} s on")
    return np.concatenate(
        [_embedded(encoder, part, stats_2, device) for part in x.split(STRETCH_BATCH)]
    ).mean(axis=0)


def date_of(file: str) -> str:
    """The date in a file name, as 2024-05-01; "" where there is none."""
    found = DATE.search(Path(file).stem)
    return "-".join(found.groups()) if found else ""


def source_of(file: str) -> str:
    """The recording's folder, or its own name where it lies at the root."""
    folder = Path(file).parent.as_posix()
    return Path(file).stem if folder == "." else folder


def _embedded_in_order(
    encoder: LoadedEncoder, windows: Windows, device: torch.device, todo: Iterable[Job[Part]]
) -> Iterator[tuple[Job[Part], EmbeddedBatch | UserError]]:
    """The vectors of every batch, in order; what is wrong with a recording in its place.

    This thread decodes, and others run the encoder. On a CPU as many as torch has threads, with
    one each: the sum of small convolutions' waits for each other costs more than it saves. Other
    people's encoders, which may keep something between two calls, get one that has them all.
    """
    threads = torch.get_num_threads()
    workers = threads if encoder.shareable and device.type == "cpu" else 1
    each = threads // workers
    waiting: deque[tuple[Job[Part], Batch | UserError, Future[np.ndarray] | None]] = deque()
    pool = ThreadPoolExecutor(workers, "embedding", torch.set_num_threads, (each,))
    with torch_threads(1):
        try:
            for entry, batch in _batches(windows, todo):
                job = None
                if isinstance(batch, Batch):
                    job = pool.submit(_embedded, encoder, batch.x, batch.stats_2, device)
                waiting.append((entry, batch, job))
                while len(waiting) > AHEAD * workers:
                    yield _settled(*waiting.popleft())
            while waiting:
                yield _settled(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _batches(
    windows: Windows, todo: Iterable[Job[Part]]
) -> Iterator[tuple[Job[Part], Batch | UserError]]:
    for entry in todo:
        part = entry.what
        try:
            for batch in islice(windows.batches(part.path), part.first, part.stop):
                yield entry, batch
        except UserError as error:
            yield entry, error


def _settled(
    entry: Job[Part], batch: Batch | UserError, job: "Future[np.ndarray] | None"
) -> tuple[Job[Part], EmbeddedBatch | UserError]:
    if isinstance(batch, UserError):
        return entry, batch
    assert job is not None
    return entry, EmbeddedBatch(job.result(), batch.start_s, batch.end_s, batch.last)


def _embedded(
    encoder: LoadedEncoder, x: Tensor, stats_2: Tensor | None, device: torch.device
) -> np.ndarray:
    """The vectors (B, D) of windows; of samples, each is heard alone."""
    if not len(x):
        return np.zeros((0, encoder.facts().embedding_dim), np.float32)
    with torch.inference_mode():
        x = x.to(device)
        if x.ndim == 2:
            x = encoder.inputs(x)
        elif encoder.normalize is not None:
            x = encoder.normalize(x, None if stats_2 is None else stats_2.expand(len(x), -1))
        return encoder.embed_inputs(x).cpu().numpy()


def _index(name: str, parts: Sequence[EmbeddedBatch]) -> dict[str, Any]:
    """The columns of a recording's vectors."""
    rows = sum(len(part.start_s) for part in parts)
    texts = {"file": name, "source": source_of(name), "date": date_of(name)}
    return {
        "start_s": np.concatenate([part.start_s for part in parts]),
        "end_s": np.concatenate([part.end_s for part in parts]),
        **{column: [text] * rows for column, text in texts.items()},
    }


def _missing(
    store: VectorStore, files: Sequence[Path], root: Path, windows: Windows, rules: AudioRules
) -> tuple[list[Job[Part]], int, list[str]]:
    """Recordings that the store lacks, how many batches they make, and why others are left out.

    Raises:
        UserError: the rules do not allow one of them.
    """
    table, found = scan(files, None, rules)
    problems = []
    for problem in found:
        if problem.fatal:
            raise UserError(str(problem))
        if problem.kind == UNREADABLE:
            problems.append(str(problem).removesuffix("; left out"))
        else:
            print(f"note: {problem}")
    known = {name.partition(":")[2]: name for name in store.keys}
    todo, total = [], 0
    rows = zip(table["file"], table["sha256"], table["duration_s"], strict=True)
    for file, sha256, seconds in rows:
        name = Path(os.path.relpath(file, root)).as_posix()
        key = f"{sha256[:32]}{sha256[64:]}:{name}"
        if key in store:
            continue
        if name in known:
            problems.append(
                f"{file}: has changed since it was embedded; its old embeddings are kept, and the "
                "new sound wants another store"
            )
            continue
        todo.append(Job(Part(Path(file), name, key), str(file), float(seconds)))
        total += windows.count(seconds)
    return todo, total, problems
