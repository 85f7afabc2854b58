"""Whether what libsndfile reads to its end by itself ends before it should."""

import os
import struct

from preprocessing.containers.riff import WRAP


def form_is_cut(path: str | os.PathLike[str]) -> bool:
    """Whether an AIFF or an AU is shorter than its header says."""
    with open(path, "rb") as handle:
        head, end = handle.read(12), os.fstat(handle.fileno()).st_size
        if head[:4] == b"FORM":
            return struct.unpack(">4xI4x", head)[0] + 7 > end
        if head[:4] in (b".snd", b"dns."):
            first, size = struct.unpack((">" if head[0] == 46 else "<") + "4xII", head)
            return size != WRAP - 1 and first + size > end
        return False


def ogg_is_cut(path: str | os.PathLike[str]) -> bool:
    """Whether an Ogg lacks its last page, which is marked as such."""
    with open(path, "rb") as handle:
        if handle.read(4) != b"OggS":
            return False
        end = os.fstat(handle.fileno()).st_size
        handle.seek(max(0, end - 3 * 65536))  # no page is longer than 65,307 bytes
        tail = handle.read()
    at = tail.rfind(b"OggS")
    while at >= 0:
        page = tail[at:]
        if len(page) >= 27 and len(page) >= 27 + page[26]:
            whole = len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
            return not (whole and page[5] & 4)
        at = tail.rfind(b"OggS", 0, at)
    return True
