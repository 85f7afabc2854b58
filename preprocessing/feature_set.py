"""What a run works on: a corpus, its features in the store, and readers of each split's clips."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from preprocessing.episodes.clips import ClipReader
from preprocessing.events import SPLITS, Corpus
from preprocessing.features import band_stats, build
from preprocessing.frontend import FrontEnd
from preprocessing.normalize import recording_stats
from preprocessing.store.store import Store


class FirstChannel:
    """The first channel of a store, as a store of it alone would give it.

    Args:
        store: of a front end with several channels.
        n_mels: bands of a channel.
    """

    def __init__(self, store: Store, n_mels: int) -> None:
        self._store, self._n_mels = store, n_mels
        kept = [_first(row, n_mels) for row in store.meta.to_dict("records")]
        self.meta = pd.DataFrame(kept, columns=["key", "rows", "mean", "std"])

    def get(self, key: str) -> Tensor:
        """Its features (rows, M)."""
        return self._store.get(key)[:, : self._n_mels]


def _first(row: Mapping[Any, Any], n_mels: int) -> dict[str, Any]:
    mean, std, *_ = recording_stats(row, len(row["band_mean"]) // n_mels)
    return {"key": row["key"], "rows": row["rows"], "mean": mean, "std": std}


class FeatureSet:
    """A corpus seen through one front end.

    Args:
        corpus: recordings and calls.
        front_end: what the features are.
        cut: how clips are cut: what a `ClipReader` takes beside the events.
        workers: threads that extract features, or "auto".
        block_s: seconds of a recording in memory at once.
        store_dir: folder of the stores.
        first_alone: readers give the front end's first channel alone.
    """

    def __init__(
        self,
        corpus: Corpus,
        front_end: FrontEnd,
        *,
        cut: Mapping[str, Any],
        workers: int | Literal["auto"],
        block_s: float,
        store_dir: Path,
        first_alone: bool = False,
    ) -> None:
        self.corpus = corpus
        self.front_end = front_end
        self.cut = dict(cut)
        self.workers: int | Literal["auto"] = workers
        self.block_s = block_s
        self.store_dir = store_dir
        self.first_alone = first_alone
        self._store: Store | None = None
        # A method's own cache would keep every FeatureSet of the process alive.
        self.reader = cache(self._reader)

    def build(self, splits: Sequence[str] = SPLITS) -> Store:
        """Extract what is missing of the features of ``splits``, and open their store."""
        self._store = build(
            self.recordings(splits),
            self.front_end,
            self.store_dir,
            workers=self.workers,
            block_s=self.block_s,
            rules=self.corpus.rules,
        )
        return self._store

    def recordings(self, splits: Sequence[str] = SPLITS) -> pd.DataFrame:
        """The corpus's rows of the recordings of ``splits`` that have calls."""
        hashes = {key for name in splits for key in self.corpus.split(name)["sha256"]}
        table = self.corpus.recordings
        return table.loc[table["sha256"].isin(sorted(hashes))]

    def _reader(self, split: str) -> ClipReader:
        """The clips of a split; its features are extracted first where they are missing."""
        events = self.corpus.split(split)
        if self._store is None or not set(events["sha256"]) <= set(self._store.keys()):
            self.build([split])
        assert self._store is not None
        store = self._store
        if self.first_alone:
            store = FirstChannel(store, self.front_end.n_mels)
        return ClipReader(
            store,
            events,
            frame_rate_hz=self.front_end.frame_rate_hz,
            channels=1 if self.first_alone else self.front_end.channels,
            **self.cut,
        )

    def training_bands(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each band over the training recordings, ``(M,)`` each."""
        keys = self.corpus.split("train")["sha256"].unique().tolist()
        return band_stats(self.build(["train"]), keys)
