"""Moments in the names of files, as recorders write them."""

import re
from datetime import datetime
from pathlib import Path

from g5.common.errors import UserError
from preprocessing.recorders.stamp import UTC, Stamp, moment_of, place_of
from preprocessing.recorders.zones import zone_of

NAME = "name"
_ZONE = r"(Z|[+-](?:0\d|1[0-4]):?[0-5]\d)?"
# AudioMoth, HydroMoth, Song Meter (SITE_20240531_223911), Swift (..._223911-0500), Frontier Labs
# (20240531T223911+0200).
_COMPACT = re.compile(rf"(?<!\d)((?:19|20)\d{{6}})([T_-])(\d{{6}})(?!\d)(?:\.\d+)?{_ZONE}")
# 2024-05-31_22-39-11 and its likes, BirdNET-Pi's 2024-05-31-birdnet-22:39:11.
_SPACED = re.compile(
    r"(?<!\d)((?:19|20)\d\d[-_.]\d\d[-_.]\d\d)[T _-](?:birdnet-)?(\d\d[-:._h]\d\d[-:._m]\d\d)(?!\d)"
    + _ZONE
)
# AudioMoth before 1.2: seconds since 1970, in hex. A name of digits alone may be anything.
_HEX = re.compile(r"(?=.*[A-F])[0-9A-F]{8}")
# Frontier Labs: [-27.3888+152.8808].
_PLACE = re.compile(r"\[([+-]?\d{1,2}\.\d+)([+-]\d{1,3}\.\d+)\]")
_DIRECTIVES = {
    "Y": r"\d{4}", "y": r"\d\d", "m": r"\d\d?", "d": r"\d\d?", "H": r"\d\d?", "I": r"\d\d?",
    "M": r"\d\d?", "S": r"\d\d?", "f": r"\d{1,6}", "j": r"\d{1,3}", "b": r"[^\W\d_]+",
    "B": r"[^\W\d_]+", "p": r"[AaPp][Mm]", "z": r"(?:Z|[+-]\d\d:?\d\d)", "%": "%",
}  # fmt: skip


class NamePattern:
    """A `strptime` pattern of the user's, looked for anywhere in a name.

    Args:
        pattern: e.g. ``%d%m%y_%H%M``.

    Raises:
        UserError: it has a directive that is not known, or no day.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        parts = re.split(r"%(.?)", pattern)
        unknown = [name for name in parts[1::2] if name not in _DIRECTIVES]
        if unknown:
            raise UserError(f"--pattern: %{unknown[0]} is not known; {', '.join(_DIRECTIVES)} are")
        if not {"j", "d"} & set(parts[1::2]) or not {"Y", "y"} & set(parts[1::2]):
            raise UserError(f"--pattern: {pattern!r} says no day of a year; e.g. %Y%m%d_%H%M%S")
        parts[::2] = map(re.escape, parts[::2])
        parts[1::2] = (_DIRECTIVES[name] for name in parts[1::2])
        self._regex = re.compile(rf"(?<!\d){''.join(parts)}(?!\d)")

    def find(self, stem: str) -> Stamp | None:
        found = self._regex.search(stem)
        try:
            moment = datetime.strptime(found[0], self.pattern) if found else None
        except ValueError:
            return None
        if found is None or moment is None:
            return None
        clock, zone = moment.replace(tzinfo=None), moment.tzinfo
        return Stamp(NAME, clock, zone, _prefix(stem[: found.start()]))


def name_stamp(file: Path, pattern: NamePattern | None = None) -> Stamp | None:
    """What a file's name says; the ``recorder`` is what stands before the date."""
    stem = file.stem
    if pattern is not None and (stamp := pattern.find(stem)):
        return stamp
    lat_lon = _PLACE.search(stem)
    place = place_of(float(lat_lon[1]), float(lat_lon[2])) if lat_lon else None
    if found := _COMPACT.search(stem):
        moment = moment_of(f"{found[1]}T{found[3]}")
        zone = found[4]
    elif found := _SPACED.search(stem):
        day, time = re.sub(r"\D", "", found[1]), re.sub(r"\D", "", found[2])
        moment, zone = moment_of(f"{day}T{time}"), found[3]
    elif _HEX.fullmatch(stem):
        clock = datetime.fromtimestamp(int(stem, 16), UTC).replace(tzinfo=None)
        return Stamp(NAME, clock, UTC) if clock.year >= 2016 else None
    else:
        return None
    if moment is None:
        return None
    return Stamp(
        NAME, moment[0], zone_of(zone) if zone else None, _prefix(stem[: found.start()]), place
    )


def _prefix(text: str) -> str:
    """SM4 with two channels: ``SM304472_0+1_``."""
    name = re.sub(r"_\d\+\d$", "", text.strip(" _-.")).strip(" _-.")
    return "" if name == "S" else name  # Frontier Labs: S is for start
