"""Recordings to stored features: decode, front end, store; in parallel, resumable, checkable.

Shapes: T frames, M mel bands, S samples.
"""

import math
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import torch

from g5.common.errors import UserError
from g5.common.machine import cores
from g5.common.progress import track
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL, AudioRules
from preprocessing.frontend import FrontEnd
from preprocessing.store.store import Store
from preprocessing.store.writer import StoreWriter

# How many unreadable recordings one error names; the count says how many there are.
FAILURES_NAMED = 10


def build(
    recordings: pd.DataFrame, frontend: FrontEnd, store_dir: str | os.PathLike[str], *, workers: int
    | Literal["auto"], block_s: float, rules: AudioRules = READ_ALL,
) -> Store:  # fmt: skip
    """Extract the features of every recording that has none yet.

    A recording is stored as (frames, n_mels) fp16 under the SHA-256 of its file, with
    ``mean`` and ``std`` (over all its values), ``band_mean`` and ``band_std`` (M,) and ``file``
    as meta, all computed before the conversion to fp16. Interrupted at any point, it goes on where
    it stopped.

    Args:
        recordings: `events.Corpus.recordings`: columns ``file``, ``sha256``, ``duration_s``.
        frontend: on the CPU; its settings name the store.
        store_dir: folder of stores.
        workers: threads; they spend their time in code that does not hold Python's lock.
        block_s: seconds of a recording in memory at once.
        rules: how recordings are read.

    Raises:
        UserError: after all others are done: recordings that could not be read, together; at once:
            a full disk, or a corrupt store.
    """
    store = Store.open(store_dir, frontend.settings(), create=True)
    store.check_shards(recordings["sha256"])
    todo = missing(recordings, store)
    if len(todo):
        _Extraction(todo, frontend, store, block_s, rules).run(_n_workers(workers, len(todo)))
    return store


def extract(
    recordings: pd.DataFrame, frontend: FrontEnd, store: Store, *, block_s: float, rules:
    AudioRules,
) -> dict[str, str]:  # fmt: skip
    """`build` in this thread alone, one recording after another; by file, what is wrong with it."""
    extraction = _Extraction(missing(recordings, store), frontend, store, block_s, rules)
    extraction.work()
    return extraction.failures


def missing(recordings: pd.DataFrame, store: Store) -> pd.DataFrame:
    """The recordings that have no features in the store, each content once, the longest first."""
    absent = np.array([key not in store for key in recordings["sha256"]], dtype=bool)
    todo = recordings.loc[absent & ~recordings["sha256"].duplicated().to_numpy()]
    return todo.sort_values("duration_s", ascending=False, kind="stable")


def check(
    recordings: pd.DataFrame, frontend: FrontEnd, store_dir: str | os.PathLike[str]
) -> list[str]:
    """Verify the stored features; what is corrupt is dropped, so that `build` makes it again.

    Returns:
        A line for every fault and for recordings without features; empty if all is well.

    Raises:
        UserError: there is no such store, or it cannot be written and something must be dropped.
    """
    store = Store.open(store_dir, frontend.settings(), create=False)
    files = dict(zip(recordings["sha256"], recordings["file"], strict=True))
    faults = store.faults()
    problems = [
        f"{store.path / fault.shard}.f16: {fault.what}"
        + (f" (features of {files.get(fault.key, fault.key)})" if fault.key else "")
        + "; dropped, the next run makes it again"
        for fault in faults
    ]
    if faults:
        store.drop_corrupt(faults)
    todo = missing(recordings, store)
    if len(todo):
        problems.append(
            f"{store.path}: {len(todo)} of {len(recordings)} recordings have no features "
            f"(e.g. {todo['file'].iloc[0]}); run g5 features"
        )
    return problems


def band_stats(store: Store, keys: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every band over these recordings, (M,) float64 each.

    Weighted by their frames; from the index alone, the features are not read.
    """
    meta = store.meta.set_index("key").loc[list(dict.fromkeys(keys))]
    weight_R1 = meta["rows"].to_numpy(np.float64)[:, None] / meta["rows"].sum()
    mean_RM, std_RM = np.stack(meta["band_mean"].tolist()), np.stack(meta["band_std"].tolist())
    mean_M = (weight_R1 * mean_RM).sum(axis=0)
    var_M = (weight_R1 * (std_RM**2 + (mean_RM - mean_M) ** 2)).sum(axis=0)
    return mean_M, np.sqrt(var_M)


@dataclass
class Moments:
    """Mean and sum of squared deviations of every band, gathered block by block.

    Chan, Golub and LeVeque 1983: no difference of large sums, so a silent recording has a
    deviation of nothing.
    """

    count: int = 0
    mean_M: np.ndarray = field(default_factory=lambda: np.zeros(1))
    squares_M: np.ndarray = field(default_factory=lambda: np.zeros(1))
    silent: int = 0
    silence_TM: torch.Tensor | None = None

    def update(self, x_TM: torch.Tensor, silent_T: torch.Tensor | None = None) -> None:
        """Take the next frames (T, M); those that are digital silence are counted and left out."""
        if silent_T is not None and bool(silent_T.any()):
            self.silence_TM = x_TM[silent_T][:1]
            self.silent += int(silent_T.sum())
            x_TM = x_TM[~silent_T]
        n = len(x_TM)
        if not n:
            return
        block_mean_M = x_TM.mean(dim=0)
        squares_M = (x_TM - block_mean_M).square_().sum(dim=0).double().numpy()
        self.merge(n, block_mean_M.double().numpy(), squares_M)

    def merge(self, count: int, mean_M: np.ndarray, squares_M: np.ndarray) -> None:
        """Take what was gathered of the next frames; into nothing, it stays what it is."""
        if not count:
            return
        delta_M, total = mean_M - self.mean_M, self.count + count
        self.squares_M = self.squares_M + squares_M + delta_M**2 * (self.count * count / total)
        self.mean_M = self.mean_M + delta_M * (count / total)
        self.count = total

    def meta(self) -> dict[str, float | np.ndarray]:
        """Scalars over the recording and values of every band, as the store keeps them."""
        if not self.count and self.silence_TM is not None:
            self.update(self.silence_TM)  # there is nothing else
        mean = self.mean_M.mean()
        band_var_M = self.squares_M / self.count
        return {
            "mean": float(mean),
            "std": float(np.sqrt((band_var_M + (self.mean_M - mean) ** 2).mean())),
            "band_mean": self.mean_M,
            "band_std": np.sqrt(band_var_M),
        }


class _Extraction:
    """One run over the recordings: what its threads share."""

    def __init__(
        self, todo: pd.DataFrame, frontend: FrontEnd, store: Store, block_s: float,
        rules: AudioRules,
    ) -> None:  # fmt: skip
        self._frontend = frontend
        self._store = store
        self._block_s, self._rules = block_s, rules
        self._n_recordings = len(todo)
        self._total_s = float(todo["duration_s"].to_numpy().sum())
        self._jobs: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        for job in zip(todo["sha256"], todo["file"], strict=True):
            self._jobs.put(job)
        # Seconds of sound that are done; None from every worker when it ends.
        self._done: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self.failures: dict[str, str] = {}

    def run(self, workers: int) -> None:
        """Work through the recordings; raises `UserError` for those that failed."""
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(workers, thread_name_prefix="features") as pool:
                futures = [pool.submit(self.work) for _ in range(workers)]
                try:
                    # Whole minutes: an update of the bar costs as much as a second of sound.
                    total = math.ceil(self._total_s / 60)
                    minutes = self._minutes(workers)
                    for _ in track(minutes, total=total, label="features", unit="min of sound"):
                        pass
                finally:
                    # Ctrl-C, too: the workers keep the recordings they have finished.
                    self._stop.set()
            for future in futures:
                future.result()
        finally:
            torch.set_num_threads(threads)
        if self.failures:
            raise UserError(failed(list(self.failures.values()), self._n_recordings))

    def _minutes(self, workers: int) -> Iterator[None]:
        """Yield once for every minute of sound that is done, until all workers have ended."""
        done_s, told = 0.0, 0
        while workers:
            seconds = self._done.get()
            if seconds is None:
                workers -= 1
                continue
            done_s += seconds
            while done_s >= 60 * (told + 1):
                told += 1
                yield
        if done_s > 60 * told:
            yield

    def work(self) -> None:
        """What a thread does: take recordings until there are none."""
        torch.set_num_threads(1)
        try:
            with self._store.writer() as writer:
                while not self._stop.is_set():
                    try:
                        key, file = self._jobs.get_nowait()
                    except queue.Empty:
                        break
                    self._extract(writer, key, file)
        except _Stopped:
            pass
        except BaseException:
            self._stop.set()
            raise
        finally:
            self._done.put(None)

    def _extract(self, writer: StoreWriter, key: str, file: str) -> None:
        moments = Moments()
        try:
            writer.add_blocks(
                key, self._features(file, moments), lambda: {"file": file, **moments.meta()}
            )
        except UserError as error:
            if writer.broken:
                raise
            message = str(error)
            self.failures[file] = message if file in message else f"{file}: {message}"

    def _features(self, file: str, moments: Moments) -> Iterator[torch.Tensor]:
        """Features of one recording, block by block (T, M)."""
        blocks = feature_blocks(file, self._frontend, self._rules, self._block_s)
        for features_TM, silent_T, seconds in blocks:
            if self._stop.is_set():
                raise _Stopped
            moments.update(features_TM, silent_T)
            yield features_TM
            self._done.put(seconds)


def feature_blocks(
    file: str, frontend: FrontEnd, rules: AudioRules, block_s: float, first: int = 0, stop: int |
    None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:  # fmt: skip
    """Features of a recording, block by block, from block ``first`` until before ``stop``.

    Yields:
        Frames (T, M), which of them are digital silence (T,), and the block's seconds of sound.
        None of them depends on ``first`` and ``stop`` where frames are ``alone``.
    """
    assert frontend.alone or not first
    stream, rate_hz = frontend.stream(), frontend.sr
    blocks = audio.blocks(file, rules, block_s=block_s, rate_hz=rate_hz)
    for number, samples in enumerate(blocks):
        if number == stop:
            return
        if number < first:
            stream.skip(samples)
        else:
            yield stream.push(samples).T, stream.silent_T, len(samples) / rate_hz
    if stop is None:
        yield stream.finish().T, stream.silent_T, 0.0


def failed(failures: Sequence[str], n_recordings: int) -> str:
    """What is said of recordings that could not be read."""
    if len(failures) == 1:
        return failures[0]
    more = len(failures) - FAILURES_NAMED
    named = sorted(failures)[:FAILURES_NAMED] + ([f"... and {more} more"] if more > 0 else [])
    return (
        f"{len(failures)} of {n_recordings} recordings could not be read "
        f"(the others are stored): {'; '.join(named)}"
    )


class _Stopped(Exception):
    """The run is over before its time."""


def _n_workers(workers: int | Literal["auto"], n_recordings: int) -> int:
    count = cores(workers)
    if count < 1:
        raise UserError(f"features.workers={workers} must be at least 1, or auto")
    return min(count, n_recordings)
