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
