"""What recorders write into a WAV: GUANO, WAMD, AudioMoth's comment and bext.

GUANO 1.0: https://guano-md.org. WAMD: Wildlife Acoustics' chunk of records, each a number, a length
and a value. The comment's wordings are those of AudioMoth-Firmware-Basic 1.0 to 1.11, HydroMoth and
GPS-Sync. bext: EBU Tech 3285.
"""

import os
import re
import struct
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from preprocessing.containers.riff import WavLayout, wav_chunks
from preprocessing.recorders.stamp import UTC, Stamp, moment_of, place_of

GUANO, WAMD, COMMENT, BEXT = "GUANO", "WAMD", "AudioMoth", "bext"
_CHUNKS = (b"guan", b"wamd", b"LISTINFO", b"bext")
_RECORDED = re.compile(
    r"Recorded at (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))? (\d\d)/(\d\d)/(\d{4})"
    r"(?: \(UTC(?:([+-])(\d{1,2})(?::(\d\d))?)?\))?"
)
_SERIAL = re.compile(r"\b(?:(?:Audio|Hydro)Moth|deployment) ([0-9A-F]{16})\b")
# Of WAMD's records.
_SERIAL_ID, _PREFIX_ID, _TIME_ID, _PLACE_ID = 2, 4, 5, 6


def wav_stamps(path: str | os.PathLike[str]) -> tuple[WavLayout | None, list[Stamp]]:
    """The layout of a WAV, and what its chunks say, the most trusted first.

    Half-written ones say what they can. No WAV says nothing.
    """
    layout, chunks = wav_chunks(path, _CHUNKS)
    readers = ((b"guan", guano), (b"wamd", wamd), (b"LISTINFO", comment), (b"bext", bext))
    stamps = (read(chunks[name]) for name, read in readers if name in chunks)
    return layout, [stamp for stamp in stamps if stamp is not None]


def guano(body: bytes) -> Stamp:
    """Lines ``Key: value`` in UTF-8; Timestamp is ISO 8601, with or without its zone."""
    fields = {}
    for line in body.decode("utf-8", "replace").strip("\0").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().casefold(), value.strip())
    clock, zone = moment_of(fields.get("timestamp", "")) or (None, None)
    numbers = re.findall(r"-?\d+(?:\.\d+)?", fields.get("loc position", ""))
    place = place_of(*map(float, numbers)) if len(numbers) == 2 else None
    return Stamp(GUANO, clock, zone, fields.get("serial", ""), place)


def wamd(body: bytes) -> Stamp:
    """Wildlife Acoustics' records."""
    texts = dict(_records(body))
    clock, zone = moment_of(texts.get(_TIME_ID, "")) or (None, None)
    recorder = texts.get(_PREFIX_ID) or texts.get(_SERIAL_ID, "")
    return Stamp(WAMD, clock, zone, recorder, _wamd_place(texts.get(_PLACE_ID, "")))


def _records(body: bytes) -> Iterator[tuple[int, str]]:
    at = 0
    while at + 6 <= len(body):
        number, size = struct.unpack_from("<HI", body, at)
        yield number, body[at + 6 : at + 6 + size].decode("utf-8", "replace").strip("\0 ")
        at += 6 + size


def _wamd_place(text: str) -> tuple[float, float] | None:
    """``WGS84,48.1,N,11.5,E`` or ``WGS84,48.1,11.5``, perhaps with a height."""
    parts = [part.strip() for part in text.split(",")][1:]
    try:
        if len(parts) >= 4 and parts[1].upper() in ("N", "S"):
            signs = [-1 if parts[i].upper() in ("S", "W") else 1 for i in (1, 3)]
            return place_of(signs[0] * float(parts[0]), signs[1] * float(parts[2]))
        return place_of(float(parts[0]), float(parts[1])) if len(parts) >= 2 else None
    except ValueError:
        return None


def comment(body: bytes) -> Stamp | None:
    """AudioMoth's ICMT of a LIST of INFO; firmware before 1.2 names no zone, and means UTC."""
    text = _info(body).get(b"ICMT", "")
    found = _RECORDED.search(text)
    if found is None:
        return None
    hour, minute, second, fraction, day, month, year, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    zone = timezone(-offset if sign == "-" else offset) if offset else UTC
    serial = _SERIAL.search(text)
    try:
        clock = datetime(*map(int, (year, month, day, hour, minute, second)))  # type: ignore
    except ValueError:
        return None
    clock += timedelta(microseconds=int((fraction or "0").ljust(6, "0")))
    return Stamp(COMMENT, clock, zone, serial[1] if serial else "")


def _info(body: bytes) -> dict[bytes, str]:
    texts, at = {}, 0
    while at + 8 <= len(body):
        name, size = struct.unpack_from("<4sI", body, at)
        texts.setdefault(name, body[at + 8 : at + 8 + size].split(b"\0")[0].decode("latin-1"))
        at += 8 + size + size % 2
    return texts


def bext(body: bytes) -> Stamp | None:
    """OriginationDate and -Time, which have no zone."""
    date, time = (body[a:b].decode("latin-1").strip("\0 ") for a, b in ((320, 330), (330, 338)))
    moment = moment_of(f"{date} {time}")
    return None if moment is None else Stamp(BEXT, moment[0])
