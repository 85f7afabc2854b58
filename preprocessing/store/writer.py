"""Adds arrays to the store, shard by shard: one writer per thread."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import torch

from g5.common.errors import UserError
from preprocessing.store.shards import Array, MetaValue, Shard, to_half

# A shard is closed once it is this long: little enough to lose in a kill, and enough that a store
# of terabytes has an index that opens at once.
SHARD_BYTES = 64 * 2**20


class StoreWriter:
    """Adds arrays to a store; from `Store.writer`. On leaving, what is complete is kept.

    Args:
        folder: of the store.
        register: takes the name and the index part of every shard that counts.

    Attributes:
        broken: writing failed (a full disk): nothing more can be added.
    """

    def __init__(self, folder: Path, register: Callable[[str, pa.Table], None]) -> None:
        self._folder = folder
        self._register = register
        self._shard: Shard | None = None
        self.broken = False

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()

    def add(self, key: str, array: Array, meta: Mapping[str, MetaValue] | None = None) -> None:
        """Add one array (rows, width) of floats; ``meta`` has the same names for all keys.

        Raises:
            UserError: a value is NaN or beyond what fp16 holds (65,504), naming the key; the
                disk is full.
        """
        self.add_blocks(key, [array], lambda: meta or {})

    def add_blocks(
        self, key: str, blocks: Iterable[Array], meta: Callable[[], Mapping[str, MetaValue]]
    ) -> None:
        """Add one array that arrives in blocks (rows, width); ``meta`` is called after the last.

        If ``blocks`` raises, the array leaves no trace and the writer can go on.
        """
        shard, rows, checksum = None, 0, 0
        try:
            for block in blocks:
                if not len(block):
                    continue
                half = to_half(block, key)
                shard = shard or self._shard_of(half.shape[1])
                assert half.shape[1] == shard.width, "blocks of one array have one width"
                self._write(shard, half)
                rows, checksum = rows + len(half), zlib.crc32(half.numpy().data, checksum)
            if not rows:
                raise UserError(f"{key}: an empty array cannot be stored")
            assert shard is not None
            shard.add_entry(key, rows, checksum, meta())
        except BaseException:
            if shard is not None:
                shard.forget_unfinished()
            raise
        self._commit_if_long()

    def commit(self) -> None:
        """Put what was added on the disk and into the store's index; happens on leaving, too."""
        shard, self._shard = self._shard, None
        if shard is None:
            return
        try:
            part = shard.commit()
        except BaseException:
            self.broken = True
            raise
        if part is not None:
            self._register(shard.name, part)

    def _shard_of(self, width: int) -> Shard:
        assert not self.broken, "this writer has failed"
        if self._shard is not None and self._shard.width != width:
            self.commit()
        if self._shard is None:
            self._shard = Shard(self._folder, width)
        return self._shard

    def _write(self, shard: Shard, half: torch.Tensor) -> None:
        try:
            shard.write(half)
        except BaseException:
            self.broken = True
            raise

    def _commit_if_long(self) -> None:
        if self._shard is not None and self._shard.rows * self._shard.width * 2 >= SHARD_BYTES:
            self.commit()
