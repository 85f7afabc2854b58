"""Vectors out of an index file of usearch, without usearch, which crashes on damaged ones.

The file (format 2): the vectors as a matrix, a head that says what they are, and the graph, whose
nodes lie in the order of the vectors and begin with their keys.
"""

import struct
from pathlib import Path

import numpy as np

from g5.common.errors import UserError

_HEAD = struct.Struct("<7s3H4B3Q?22x")
_GRAPH = struct.Struct("<5Q")
# Scalars by usearch's number; bf16 is the upper half of fp32.
_SCALARS = {4: "<u2", 10: "<f8", 11: "<f4", 12: "<f2", 23: "<i1"}
_BF16, _KEY_64, _SLOT_32 = 4, 14, 15


def read_vectors(path: Path, keys: list[int]) -> np.ndarray:
    """The vectors (N, D) of keys.

    Raises:
        UserError: it is no whole index, or lacks some of them.
    """
    content = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    x_RD, place = _matrix(path, content)
    there_R = _keys(path, content, place, len(x_RD))
    order = np.argsort(there_R, kind="stable")
    wanted_N = np.array(keys, np.uint64)
    at_N = np.searchsorted(there_R, wanted_N, sorter=order)
    row_N = order[np.minimum(at_N, len(order) - 1)] if len(order) else at_N
    absent = int((there_R[row_N] != wanted_N).sum()) if len(order) else len(keys)
    if absent:
        raise UserError(f"{path}: lacks {absent} of the {len(keys)} vectors that are asked of it")
    return np.ascontiguousarray(x_RD[row_N], np.float32)


def _matrix(path: Path, content: np.ndarray) -> tuple[np.ndarray, int]:
    """The matrix of vectors, as it is stored, and where the graph begins."""
    for size in ("<2I", "<2Q"):
        first = struct.calcsize(size)
        if len(content) < first:
            break
        rows, width = struct.unpack(size, content[:first].tobytes())
        end = first + rows * width
        if end + _HEAD.size > len(content):
            continue
        head = _HEAD.unpack(content[end : end + _HEAD.size].tobytes())
        magic, _, _, _, _, kind, key, slot, _, _, dim, _ = head
        scalar = np.dtype(_SCALARS.get(kind, "V1"))
        if magic != b"usearch" or dim * scalar.itemsize != width or scalar.kind == "V":
            continue
        if (key, slot) == (_KEY_64, _SLOT_32):
            x_RD = content[first:end].view(scalar).reshape(rows, dim)
            whole = (x_RD.astype(np.uint32) << 16).view("<f4") if kind == _BF16 else x_RD
            return whole, end + _HEAD.size
    raise UserError(f"{path}: cannot be read as an index of usearch; give a whole one")


def _keys(path: Path, content: np.ndarray, place: int, rows: int) -> np.ndarray:
    """The keys (R,) of the graph's nodes, uint64."""
    if place + _GRAPH.size <= len(content):
        graph = content[place : place + _GRAPH.size].tobytes()
        nodes, links, base_links, _, _ = _GRAPH.unpack(graph)
        place += _GRAPH.size
        if nodes == rows and max(links, base_links) < 2**20 and place + 2 * rows <= len(content):
            level_R = content[place : place + 2 * rows].view("<i2").astype(np.int64)
            size_R = 14 + 4 * base_links + level_R * (4 + 4 * links)
            start_R = place + 2 * rows + np.cumsum(size_R) - size_R
            if (level_R >= 0).all() and place + 2 * rows + size_R.sum() == len(content):
                return content[start_R[:, None] + np.arange(8)].view("<u8")[:, 0]
    raise UserError(f"{path}: is no whole index of usearch; give a whole one")
