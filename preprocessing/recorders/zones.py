"""Time zones as people write them, and moments that a clock shows twice or never."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from difflib import get_close_matches
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from g5.common.errors import UserError

_OFFSET = re.compile(r"(?:UTC|GMT)?\s*(?:([+-])(\d{1,2})(?::?(\d{2}))?)?", re.I)


def zone_of(text: str) -> tzinfo:
    """``Europe/Berlin``, ``UTC``, ``Z``, ``+02:00``, ``UTC+5:30`` or ``-0700`` as a time zone.

    Raises:
        UserError: there is none of this name.
    """
    name = text.strip()
    if name.upper() == "Z":
        return UTC
    if (found := _OFFSET.fullmatch(name)) and name:
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        if offset > timedelta(hours=14):
            raise UserError(f"{name!r}: no place is so many hours from UTC")
        return timezone(-offset if sign == "-" else offset) if offset else UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = get_close_matches(name, available_timezones(), n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UserError(
            f"{name!r} is no time zone{meant} (Europe/Berlin, UTC and +02:00 are)"
        ) from None


def zone_name(zone: tzinfo | None) -> str:
    """A name from which `zone_of` makes it again; "" for none."""
    if zone is None:
        return ""
    return zone.key if isinstance(zone, ZoneInfo) else str(zone).removeprefix("UTC") or "UTC"


@cache
def _places() -> dict[str, tuple[float, float]]:
    """Latitude and longitude of the town that each zone is called after, degrees."""
    text = resources.files("tzdata").joinpath("zoneinfo", "zone.tab").read_text("utf-8")
    rows = [row.split("\t") for row in text.splitlines() if row and not row.startswith("#")]
    return {row[2]: (_degrees(lat), _degrees(lon)) for row in rows
            for lat, lon in [re.findall(r"[+-]\d+", row[1])]}  # fmt: skip


def _degrees(text: str) -> float:
    """``+5230`` or ``-0132215``, whose last digits are minutes, or minutes and seconds."""
    digits = text[1:]
    seconds = int(digits[-2:]) if len(digits) > 5 else 0
    minutes = digits[:-2] if len(digits) > 5 else digits
    value = int(minutes[:-2]) + int(minutes[-2:]) / 60 + seconds / 3600
    return -value if text.startswith("-") else value


def place_of_zone(zone: tzinfo | None) -> tuple[float, float] | None:
    """Where a zone's town lies: latitude and longitude, degrees; None: that is not known."""
    return _places().get(zone.key) if isinstance(zone, ZoneInfo) else None


def in_zone(clock: datetime, zone: tzinfo) -> datetime:
    """What a clock shows as a moment.

    Raises:
        UserError: there is no such moment, or there are two: the clock does not follow the zone's
            daylight saving.
    """
    first, second = (clock.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    offsets = first.utcoffset(), second.utcoffset()
    if offsets[0] == offsets[1]:
        return first
    assert offsets[0] is not None
    assert offsets[1] is not None
    often = "twice" if offsets[0] > offsets[1] else "never"
    raise UserError(
        f"{clock:%Y-%m-%d %H:%M:%S} comes {often} in {zone_name(zone)}, where clocks are put "
        "forward or back; if the recorder's was not, give its offset: --clock +01:00"
    )
