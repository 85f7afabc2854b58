"""Which recordings are of certain hours, by the clock or by the sun, and of certain dates.

Shapes: N recordings.
"""

import re
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from preprocessing.recorders.sun import NAMES, sun_days

_EDGE = re.compile(rf"({'|'.join(NAMES)}|\d\d?:\d\d)((?:[+-]\d+(?:h|m|min)(?:\d+m)?)?)")
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Edge:
    """Where hours begin or end: a time of day or of the sun, and minutes after it."""

    anchor: str
    after_min: int

    @classmethod
    def of(cls, text: str) -> "Edge | None":
        """``sunset-1h``, ``sunrise+1h30m``, ``22:00``; None: it is none."""
        found = _EDGE.fullmatch(text.strip().lower().replace(" ", ""))
        if found is None:
            return None
        parts = re.findall(r"(\d+)([hm])", found[2])
        sizes = [int(count) * (60 if unit == "h" else 1) for count, unit in parts]
        after = -sum(sizes) if found[2].startswith("-") else sum(sizes)
        if ":" in found[1]:
            hour, minute = map(int, found[1].split(":"))
            return cls("", 60 * hour + minute + after) if hour <= 24 and minute < 60 else None
        return cls(found[1], after)

    @property
    def of_sun(self) -> bool:
        return bool(self.anchor)

    def on(self, day_N: np.ndarray, lat: float, lon: float, offset: np.timedelta64) -> np.ndarray:
        """When it is on some days, as the clocks of the place show it; NaT: never."""
        shift = np.timedelta64(self.after_min, "m")
        if not self.of_sun:
            return day_N.astype("datetime64[s]") + shift
        hours = offset / np.timedelta64(1, "h")
        return getattr(sun_days(lat, lon, day_N, float(hours)), self.anchor) + offset + shift


class Choice:
    """What is asked for of a folder of recordings.

    Args:
        hours: ``sunset-1h..sunrise+1h``, ``22:00..04:30``; None: all.
        dates: ``2024-05-01..2024-06-30``, both included, one of them may be left out; None: all.

    Raises:
        UserError: it cannot be read.
    """

    def __init__(self, hours: str | None, dates: str | None) -> None:
        self.hours, self.dates = hours, dates
        edges = [Edge.of(text) for text in (hours or "").split("..")]
        if hours is not None and (len(edges) != 2 or None in edges):
            raise UserError(
                f"detection.hours={hours}: write two of HH:MM, {', '.join(NAMES)}, with "
                "+1h or -30m if need be: sunset-1h..sunrise+1h"
            )
        self._edges = [edge for edge in edges if edge]
        self._days = _days(dates)

    def why_not(self, table: pd.DataFrame) -> dict[str, str]:
        """Of recordings that are not asked for, by path, why.

        Args:
            table: of `StartReader.read`. A recording is of the hours if a part of it is.
        """
        if self.hours is None and self.dates is None:
            return {}
        asked = " ".join(
            f"detection.{name}={value}"
            for name, value in (("hours", self.hours), ("dates", self.dates)) if value
        )  # fmt: skip
        local_N = table["start_local"].to_numpy("datetime64[s]")
        why = np.full(len(table), "", object)
        undated = np.isnat(local_N)
        why[undated] = f"when it begins is not known, and {asked} asks for it"
        day_N = local_N.astype("datetime64[D]")
        why[~undated & ~((day_N >= self._days[0]) & (day_N <= self._days[1]))] = f"not of {asked}"
        if self._edges:
            keep, placeless = self._of_hours(table, local_N)
            why[(why == "") & ~keep] = f"not of {asked}"
            why[(why == "") & placeless] = (
                f"its place or its clock's zone is not known, and {asked} asks for both: "
                "--deployments, --zone"
            )
        return {file: text for file, text in zip(table["file"], why, strict=True) if text}

    def _of_hours(self, table: pd.DataFrame, local_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether recordings are of the hours, and whether that cannot be told."""
        keep, placeless = np.ones(len(table), bool), np.zeros(len(table), bool)
        offset_N = local_N - table["start_utc"].to_numpy("datetime64[s]")
        length_N = table["duration_s"].fillna(0).to_numpy(float).round().astype("timedelta64[s]")
        sunny = any(edge.of_sun for edge in self._edges)
        if not sunny:
            keep = self._overlaps(local_N, length_N, 0.0, 0.0, np.timedelta64(0, "s"))
            return keep, placeless
        keys = np.column_stack([table["lat"], table["lon"], offset_N.astype(float)])
        keys[np.isnat(offset_N), 2] = np.nan
        placeless[:] = np.isnan(keys).any(axis=1)
        for key in np.unique(keys[~placeless], axis=0):
            at = np.flatnonzero((keys == key).all(axis=1))
            shift = np.timedelta64(int(key[2]), "s")
            keep[at] = self._overlaps(local_N[at], length_N[at], key[0], key[1], shift)
        return keep, placeless

    def _overlaps(
        self, start_N: np.ndarray, length_N: np.ndarray, lat: float, lon: float,
        offset: np.timedelta64,
    ) -> np.ndarray:  # fmt: skip
        day_N, which_N = np.unique(start_N.astype("datetime64[D]"), return_inverse=True)
        inside, never = np.zeros(len(start_N), bool), np.zeros(len(start_N), bool)
        for shift in (-1, 0, 1):
            begin, end, later = (
                edge.on(day_N + days * _DAY, lat, lon, offset)
                for edge, days in zip(
                    (*self._edges, self._edges[1]), (shift, shift, shift + 1), strict=True
                )
            )
            end = np.where(end <= begin, later, end)
            inside |= (start_N < end[which_N]) & (start_N + length_N >= begin[which_N])
            never |= np.isnat(begin)[which_N] | np.isnat(end)[which_N]
        # Where the sun neither rises nor sets nobody can say: it is kept.
        return inside | never


def _days(dates: str | None) -> tuple[np.datetime64, np.datetime64]:
    ends = ["0001-01-01", "9999-12-31"]
    if dates is not None:
        parts = [part.strip() for part in dates.split("..")]
        parts = parts * 2 if len(parts) == 1 else parts
        try:
            pairs = zip(parts, ends, strict=True)
            ends = [date.fromisoformat(part).isoformat() if part else end for part, end in pairs]
        except ValueError:
            raise UserError(
                f"detection.dates={dates}: write 2024-05-01..2024-06-30; one may be left out"
            ) from None
        if ends[0] > ends[1]:
            raise UserError(f"detection.dates={dates}: ends before it begins")
    first, last = (np.datetime64(end, "D") for end in ends)
    return first, last
