"""Time zones as people write them, and moments that a clock shows twice or never."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from difflib import get_close_matches
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
