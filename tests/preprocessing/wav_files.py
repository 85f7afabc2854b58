"""WAVs as recorders, phones and broken cards write them, with what is truly in them."""

import struct
from dataclasses import dataclass

import numpy as np

RATE_HZ = 8000
W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
W64_WAVE = b"wave\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
FAULTS = (
    "none", "zeros follow", "bytes follow", "cut", "data is 0", "length unknown", "data too large",
    "data too small", "RIFF is 0", "RIFF is wrong",
)  # fmt: skip
# These are read to the end of the file, so nothing may follow the samples.
TO_THE_END = ("cut", "data is 0", "length unknown", "data too large", "data too small")


@dataclass(frozen=True)
class MadeWav:
    """A WAV: its bytes, its samples (T, C) in [-1, 1], and whether a reader should complain."""

    how: str
    content: bytes
    samples_TC: np.ndarray
    wrong: bool


def made_wav(rng: np.random.Generator) -> MadeWav:
    """One at random: dialect, format, order of chunks, padding and fault."""
    magic = str(rng.choice(["RIFF", "RIFX", "RF64", "BW64", "W64"], p=[0.5, 0.1, 0.15, 0.05, 0.2]))
    order = ">" if magic == "RIFX" else "<"
    kind = str(rng.choice(["u1", "i2", "i3", "i4", "f4", "f8", "m1", "a1"]))
    channels, frames = int(rng.integers(1, 4)), int(rng.integers(200, 1200))
    pcm, samples_TC = _samples(rng, kind, channels, frames, order)
    faults = [f for f in FAULTS if magic == "RIFF" or f in ("none", "cut", "zeros follow")]
    fault = str(rng.choice(faults))
    padded = magic == "W64" or bool(rng.integers(2))
    width = channels * int(kind[1])
    before = [_chunk_body(rng) for _ in range(rng.integers(0, 3))]
    after = [] if fault in TO_THE_END else [_chunk_body(rng) for _ in range(rng.integers(0, 3))]
    form = (b"fmt ", _form(kind, channels, order, extensible=bool(rng.integers(2))))
    data = (b"data", pcm)
    # A few writers put the format last.
    late = bool(after) and fault == "none" and rng.random() < 0.1
    chunks = [*before, data, form, *after] if late else [*before, form, data, *after]
    content, first = _container(magic, chunks, order, padded)
    content, kept = _spoilt(rng, fault, content, first, len(pcm), order)
    note = fault in TO_THE_END
    how = f"{magic} {kind} x{channels}, padded={padded}, late={late}, {fault}"
    return MadeWav(how, content, samples_TC[: kept // width], note)


def _samples(
    rng: np.random.Generator, kind: str, channels: int, frames: int, order: str
) -> tuple[bytes, np.ndarray]:
    x_TC = rng.uniform(-0.9, 0.9, (frames, channels))
    if kind[0] == "f":
        y_TC = x_TC.astype(f"{order}{kind}")
        return y_TC.tobytes(), y_TC.astype(np.float64)
    if kind[0] in "ma":
        codes_TC = rng.integers(0, 256, (frames, channels), dtype=np.uint8)
        return codes_TC.tobytes(), (_mu_law if kind[0] == "m" else _a_law)(codes_TC) / 32768
    bits = 8 * int(kind[1])
    whole_TC = np.round(x_TC * (2 ** (bits - 1) - 1)).astype(np.int64)
    truth_TC = whole_TC / 2 ** (bits - 1)
    if kind == "u1":
        return (whole_TC + 128).astype(np.uint8).tobytes(), truth_TC
    each = whole_TC.astype(f"{order}i4").view(np.uint8).reshape(frames, channels, 4)
    size = int(kind[1])
    return (each[..., 4 - size :] if order == ">" else each[..., :size]).tobytes(), truth_TC


def _mu_law(codes: np.ndarray) -> np.ndarray:
    """ITU-T G.711, 16 bits."""
    u = ~codes.astype(np.int64) & 0xFF
    size = ((((u & 15) << 3) + 132) << ((u & 112) >> 4)) - 132
    return np.where(u & 128, -size, size)


def _a_law(codes: np.ndarray) -> np.ndarray:
    """ITU-T G.711, 16 bits."""
    a = codes.astype(np.int64) ^ 0x55
    step, segment = (a & 15) << 4, (a & 112) >> 4
    size = np.where(segment == 0, step + 8, (step + 264) << np.maximum(segment - 1, 0))
    return np.where(a & 128, size, -size)


def _form(kind: str, channels: int, order: str, *, extensible: bool) -> bytes:
    size, tag = int(kind[1]), {"f": 3, "m": 7, "a": 6}.get(kind[0], 1)
    values = channels, RATE_HZ, RATE_HZ * channels * size, channels * size, 8 * size
    if not extensible:
        return struct.pack(order + "HHIIHH", tag, *values)
    head = struct.pack(order + "HHIIHHHHIH", 0xFFFE, *values, 22, 8 * size, 0, tag)
    return head + b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"


def _chunk_body(rng: np.random.Generator) -> tuple[bytes, bytes]:
    name = bytes(rng.choice([b"LIST", b"bext", b"guan", b"junk", b"JUNK", b"cue "]).ljust(4))
    if rng.random() < 0.1:  # empty, or as long as a page of a disk
        return name, bytes(rng.choice([0, 0, 4096, 65535]))
    return name, b"INFO" + bytes(rng.integers(65, 91, rng.integers(0, 300), dtype=np.uint8))


def _container(
    magic: str, chunks: list[tuple[bytes, bytes]], order: str, padded: bool
) -> tuple[bytes, int]:
    """The file, and where its samples begin."""
    body, first, lengths = b"", 0, dict(chunks)
    start = 40 if magic == "W64" else 12
    if magic in ("RF64", "BW64"):
        body = b"ds64" + struct.pack("<I", 28) + bytes(8)
        body += struct.pack("<QQI", len(lengths[b"data"]), 0, 0)
    for name, content in chunks:
        if magic == "W64":
            head = name + W64_WAVE[4:] + struct.pack("<Q", 24 + len(content))
            pad = -len(content) % 8
        else:
            long = magic in ("RF64", "BW64") and name == b"data"
            head = name + struct.pack(order + "I", 0xFFFFFFFF if long else len(content))
            pad = len(content) % 2 if padded else 0
        body += head
        first = start + len(body) if name == b"data" else first
        body += content + bytes(pad)
    if magic == "W64":
        return W64_RIFF + struct.pack("<Q", 40 + len(body)) + W64_WAVE + body, first
    size = 4 + len(body)
    if magic in ("RF64", "BW64"):
        body = body[:8] + struct.pack("<Q", size) + body[16:]
        size = 0xFFFFFFFF
    return magic.encode() + struct.pack(order + "I", size) + b"WAVE" + body, first


def _spoilt(
    rng: np.random.Generator, fault: str, content: bytes, first: int, size: int, order: str
) -> tuple[bytes, int]:
    """The file with a fault, and how many bytes of samples are left to be read."""
    sizes = {
        "data is 0": 0, "length unknown": 0xFFFFFFFF, "data too large": size + 12_346,
        "data too small": size // 2 // 24 * 24,
    }  # fmt: skip
    if fault in sizes:
        number = struct.pack(order + "I", sizes[fault])
        content = content[: first - 4] + number + content[first : first + size]
    elif fault == "cut":
        size = int(rng.integers(size // 4, size - 24))
        content = content[: first + size]
    elif fault == "zeros follow":
        content += bytes(int(rng.integers(1, 5000)))
    elif fault == "bytes follow":
        content += b"\xff\x01" + rng.bytes(int(rng.integers(1, 5000)))
    elif fault in ("RIFF is 0", "RIFF is wrong"):
        wrong = 0 if fault == "RIFF is 0" else int(rng.integers(40, 2**31))
        content = content[:4] + struct.pack(order + "I", wrong) + content[8:]
    return content, size
