"""Recordings to embeddings of windows, whatever the encoder: made once, and stored.

Shapes: M mel bands, D embedding width, N windows.
"""

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from archs.protonet import ProtoNet
from g5.detection.embedding.sound import Sound
from g5.detection.embedding.windows import Scale
from preprocessing.frontend import FrontEnd
from preprocessing.store.store import Store

Item = TypeVar("Item")
Result = TypeVar("Result")
Band = tuple[int, int]  # first mel band, and the one after the last
Piece = tuple[Sound, np.ndarray]  # a recording, and the first frames (N,) of windows in it


class WindowEmbedder(ABC):
    """Embeds windows of recordings.

    Args:
        front_end: makes the frames that windows and events are counted in.
        model: its `prototype_logits` compare embeddings.
        identity: 16 hex digits of everything between sound and embeddings.
        store_dir: folder of stores.
        device: where the encoder works.
        batch: windows of a batch.
        workers: threads that work on batches.
    """

    def __init__(
        self, front_end: FrontEnd, model: ProtoNet, identity: str, store_dir: Path, *,
        device: torch.device, batch: int, workers: int,
    ) -> None:  # fmt: skip
        self.front_end, self.model, self.identity = front_end, model, identity
        self.store_dir, self.device = store_dir, device
        self.batch, self.workers = batch, workers

    @property
    def stride(self) -> int:
        """Frames that the hop of windows should be a multiple of; 0: any will do."""
        return 0

    @abstractmethod
    def grid(self, sound: Sound, scale: Scale, band: Band | None) -> Tensor:
        """Embeddings of all windows of a scale, (N, D) fp16 mapped from the disk.

        Args:
            sound: the recording.
            scale: of the windows.
            band: all that is heard, for encoders that take features; None: everything.
        """

    @abstractmethod
    def cut(
        self, pieces: Sequence[Piece], width: int, band: Band | None,
        heard: Sequence[np.ndarray] | None = None,
    ) -> list[Tensor]:  # fmt: skip
        """Embeddings of windows that start at any frames, cut one by one: (N, D) fp32 per piece.

        Windows that leave the recording are moved inside; a recording shorter than a window is
        repeated.

        Args:
            pieces: a recording, and the first frames (N,) of windows in it.
            width: of the windows, frames.
            band: as for `grid`.
            heard: of each piece, the first frame that is heard of a window and the one after the
                last, (N, 2), frames of the recording; None: all.
        """

    def cost_s(self) -> float:
        """Seconds that a window takes where none shares its work with others; 0: not worth telling.

        Raises:
            UserError: the encoder does not embed sound.
        """
        return 0.0


class StoredEmbedder(WindowEmbedder):
    """Keeps what it has embedded in stores; arguments as of `WindowEmbedder`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._stores: dict[str, Store] = {}

    def grid(self, sound: Sound, scale: Scale, band: Band | None) -> Tensor:
        store = self._store(self._facts(scale, band))
        found_ND = store.take(sound.key)
        if found_ND is not None:
            return found_ND
        with store.writer() as writer:
            writer.add_blocks(
                sound.key, self._blocks(sound, scale, band), lambda: {"file": str(sound.path)}
            )
        return store.get(sound.key)

    @abstractmethod
    def _blocks(self, sound: Sound, scale: Scale, band: Band | None) -> Iterator[Tensor]:
        """The windows of `grid`, some at a time."""

    @abstractmethod
    def _facts(self, scale: Scale, band: Band | None) -> dict[str, Any]:
        """What the embeddings of `grid` depend on, the recording aside."""

    def _store(self, facts: dict[str, Any]) -> Store:
        name = json.dumps(facts, sort_keys=True)
        if name not in self._stores:
            store = Store.open(self.store_dir, facts, create=True, command="g5 detect")
            self._stores[name] = store.mend_index()
        return self._stores[name]


def inside(sound: Sound, starts_N: np.ndarray, width: int) -> np.ndarray:
    """First frames of windows; those that leave the recording are moved inside."""
    return np.clip(starts_N, 0, max(sound.n_frames - width, 0)).astype(np.int64)


def in_order(work: Callable[[Any], Result], items: Iterable[Any], workers: int) -> Iterator[Result]:
    """``map`` on some threads, results in order, and only a few of them ahead of their use.

    Each of the threads, the caller's where there is only one, works with one thread of PyTorch's.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if workers <= 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            waiting: deque[Future[Result]] = deque()
            try:
                for item in items:
                    waiting.append(pool.submit(work, item))
                    if len(waiting) > 2 * workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        torch.set_num_threads(threads)
