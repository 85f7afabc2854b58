"""Long recordings whose features are extracted in parts, on several workers, and joined.

Parts lie in a store of their own until they are joined, so that whoever goes on has them. What is
joined has the bytes of what is extracted at once: frames do not depend on where a part begins, and
mean and deviation are gathered block by block in the same order.

Shapes: P blocks of a part, M values of a frame.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from preprocessing.audio_rules import AudioRules
from preprocessing.features import Moments, feature_blocks
from preprocessing.frontend import FrontEnd
from preprocessing.store.settings import SETTINGS_FILE
from preprocessing.store.shards import Fault
from preprocessing.store.store import Store


@dataclass(frozen=True)
class FeaturePart:
    """Blocks of a recording: from ``first`` until before ``stop``.

    Attributes:
        row: of the recording, from `events.Corpus.recordings`.
        first: number of a block.
        stop: None: to the end.
    """

    row: dict[str, Any]
    first: int = 0
    stop: int | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all of the recording."""
        return not self.first and self.stop is None

    @property
    def key(self) -> str:
        """In the store of parts."""
        return f"{self.row['sha256']}:{self.first}"


def parts(
    row: dict[str, Any], front_end: FrontEnd, *, part_s: float, block_s: float
) -> list[FeaturePart]:
    """A recording as several parts, where it is long and its front end lets it be cut."""
    if not front_end.alone:
        return [FeaturePart(row)]
    group_s = front_end.frames_at_once / front_end.frame_rate_hz  # frames leave in such groups
    step = max(round(part_s / block_s), 2 * ceil(group_s / block_s))
    blocks = int(row["duration_s"] / block_s)
    edges = [*range(0, max(blocks - step // 2, 1), step), None]
    return [FeaturePart(row, first or 0, stop) for first, stop in pairwise(edges)]


def store_of_parts(store_dir: Path, front_end: FrontEnd, *, part_s: float, block_s: float) -> Store:
    """Where parts of these features lie; made if need be."""
    cut = {"part_s": float(part_s), "block_s": float(block_s)}
    return Store.open(store_dir, {"parts": cut, **front_end.settings()}, create=True)


def extract_part(
    part: FeaturePart, front_end: FrontEnd, store: Store, *, block_s: float, rules: AudioRules
) -> None:
    """Put a part into the store of parts, unless it is there.

    Raises:
        UserError: the recording cannot be read so far.
    """
    if part.key in store:
        return
    gathered: list[Moments] = []

    def frames() -> Iterator[torch.Tensor]:
        file = part.row["file"]
        blocks = feature_blocks(file, front_end, rules, block_s, part.first, part.stop)
        for features_TM, silent_T, _ in blocks:
            gathered.append(Moments())
            gathered[-1].update(features_TM, silent_T)
            yield features_TM

    def meta() -> dict[str, np.ndarray]:
        """A value, or a value of each band, of every block."""
        empty_M = np.zeros(front_end.width)
        return {
            "count": np.array([block.count for block in gathered]),
            "silent": np.array([block.silent for block in gathered]),
            "mean": np.concatenate([block.mean_M + empty_M for block in gathered]),
            "squares": np.concatenate([block.squares_M + empty_M for block in gathered]),
        }

    with store.writer() as writer:
        writer.add_blocks(part.key, frames(), meta)


def join(found: Sequence[FeaturePart], front_end: FrontEnd, of_parts: Store, store: Store) -> None:
    """Put a recording, all of whose parts are there, into the store of features.

    Raises:
        UserError: a part is not there, or not whole.
    """
    moments, keys = Moments(), [part.key for part in found]
    arrays = [of_parts.get(key) for key in keys]
    for told in of_parts.meta.set_index("key").loc[keys].to_dict("records"):
        moments.silent += int(told["silent"].sum())
        means_PM, squares_PM = (
            told[name].reshape(-1, front_end.width) for name in ("mean", "squares")
        )
        for count, mean_M, squares_M in zip(told["count"], means_PM, squares_PM, strict=True):
            moments.merge(int(count), mean_M, squares_M)
    empty_TM = torch.zeros(1, front_end.n_mels)
    moments.silence_TM = front_end.compress(empty_TM, None)[0]
    row = found[0].row
    with store.writer() as writer:
        writer.add_blocks(row["sha256"], arrays, lambda: {"file": row["file"], **moments.meta()})


def forget(keys: Sequence[str], of_parts: Store) -> None:
    """Remove parts that are joined, or of no use."""
    there = of_parts.meta
    rows = there.loc[there["key"].isin(keys), ["shard", "key"]]
    of_parts.drop_corrupt([Fault(shard, key, "") for shard, key in rows.to_numpy()])
    settings = of_parts.path / SETTINGS_FILE
    if list(of_parts.path.iterdir()) == [settings]:  # nobody else has parts there
        settings.unlink()
        of_parts.path.rmdir()
