"""What one source says of when, by what and where a recording was made."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from g5.common.errors import UserError
from preprocessing.recorders.zones import zone_of

_MOMENT = re.compile(
    r"(\d{4})[-/:.]?(\d\d)[-/:.]?(\d\d)"
    r"(?:[T _](\d\d)[:-]?(\d\d)(?:[:-]?(\d\d)(?:[.,](\d{1,9}))?)?)?"
    r"\s*(Z|UTC|[+-]\d\d:?\d\d|[+-]\d\d)?",
    re.I,
)
_DOTTED = re.compile(r"^(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\d)")


@dataclass(frozen=True)
class Stamp:
    """What a source says; what it does not say is None or "".

    Attributes:
        source: its name, as `g5 data when` prints it.
        clock: start of the recording as the clock showed it, without a zone.
        zone: of that clock.
        recorder: a serial number, or a name.
        place: latitude and longitude, degrees.
    """

    source: str
    clock: datetime | None = None
    zone: tzinfo | None = None
    recorder: str = ""
    place: tuple[float, float] | None = None


def moment_of(text: str) -> tuple[datetime, tzinfo | None] | None:
    """``2024-05-31T22:39:11+02:00`` and its likes as clock and zone; None: it is no moment.

    ``31.05.2024`` is a day, too; the years 1 and 9999 are none, of which no zone can be told.
    """
    text = _DOTTED.sub(lambda d: f"{d[3]}-{int(d[2]):02}-{int(d[1]):02}", text.strip())
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    *parts, fraction, zone = found.groups()
    try:
        clock = datetime(*(int(part or 0) for part in parts))  # type: ignore[arg-type]
        offset = zone_of(zone) if zone else None
    except (ValueError, UserError):
        return None
    if not datetime.min.year < clock.year < datetime.max.year:
        return None
    return clock + timedelta(microseconds=int((fraction or "0").ljust(6, "0")[:6])), offset


def place_of(lat: float, lon: float) -> tuple[float, float] | None:
    """A place on the earth; None for what is none, and for 0, 0, a receiver's without a fix."""
    there = -90 <= lat <= 90 and -180 <= lon <= 180 and (lat, lon) != (0, 0)
    return (lat, lon) if there else None


UTC = UTC
