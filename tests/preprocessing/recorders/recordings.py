"""Tiny WAVs with the chunks that recorders write."""

import struct
from pathlib import Path

AUDIOMOTH = (
    "Recorded at 19:17:30 27/05/2020 (UTC) by AudioMoth 2453AC045F4B5A51 at medium gain setting "
    "while battery state was 4.5V and temperature was 22.3C."
)


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def wav(path: Path, *, before: bytes = b"", after: bytes = b"", seconds: float = 0.01) -> Path:
    """A silent WAV of 1 kHz with chunks before and after its samples."""
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 1000, 2000, 2, 16))
    body = b"WAVE" + form + before + chunk(b"data", bytes(2 * round(1000 * seconds))) + after
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def guano(**fields: str) -> bytes:
    lines = [f"{key.replace('_', ' ')}: {value}" for key, value in fields.items()]
    return chunk(b"guan", "\n".join(["GUANO|Version: 1.0", *lines]).encode())


def comment(text: str) -> bytes:
    icmt = chunk(b"ICMT", text.encode("latin-1").ljust(384, b"\0"))
    return chunk(b"LIST", b"INFO" + icmt + chunk(b"IART", b"AudioMoth\0"))


def wamd(**records: str) -> bytes:
    numbers = {"serial": 2, "prefix": 4, "time": 5, "place": 6}
    body = struct.pack("<HIH", 0, 2, 1)
    for name, text in records.items():
        body += struct.pack("<HI", numbers[name], len(text)) + text.encode()
    return chunk(b"wamd", body)


def bext(date: str, time: str) -> bytes:
    return chunk(b"bext", bytes(320) + date.encode() + time.encode() + bytes(264))
