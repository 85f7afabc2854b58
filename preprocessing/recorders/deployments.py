"""Which recorder stood where, from when to when: a table of the user's, or Camtrap-DP's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path

import numpy as np

from g5.common.errors import UserError
from preprocessing.annotations import read_texts
from preprocessing.annotations.columns import plain
from preprocessing.annotations.table import Table
from preprocessing.recorders.stamp import moment_of
from preprocessing.recorders.zones import place_of_zone, zone_name, zone_of

# Our names, and others that are understood, in their plain form; those of Camtrap-DP among them.
COLUMNS = {
    "recorder": (
        "recorder", "recorder_id", "recorderid", "device", "device_id", "deviceid", "serial",
        "cameraid", "camera_id", "unit", "folder", "deploymentid", "deployment_id", "deployment",
    ),
    "site": (
        "site", "site_id", "siteid", "site_name", "station", "location", "location_name",
        "locationname", "locationid", "location_id", "plot", "point",
    ),
    "lat": ("lat", "latitude", "y", "decimallatitude"),
    "lon": ("lon", "long", "lng", "longitude", "x", "decimallongitude"),
    "from": ("from", "start", "begin", "deploymentstart", "deployment_start", "start_date",
             "date_start", "deployed", "setup_date"),
    "to": ("to", "end", "until", "deploymentend", "deployment_end", "end_date", "date_end",
           "retrieved", "retrieval_date"),
    "zone": ("timezone", "time_zone", "zone", "tz"),
    "clock": ("clock", "clock_zone", "utc_offset"),
}  # fmt: skip
# A recorder so far from the others is no neighbour, degrees.
FAR_DEG = 10.0
# What R, pandas and people write where nothing is known.
NOTHING = ("", "na", "n/a", "nan", "nat", "null", "none", "-", "–", "?")
_SIGNS = str.maketrans({",": ".", "−": "-", "–": "-"})
_DMS = re.compile(r"\s*(-?\d{1,3})\s*[°d:\s]\s*(\d{1,2}(?:[.,]\d+)?)\s*['′m:]?\s*(?:(\d{1,2}(?:[.,]\d+)?)\s*(?:[\"″s]|'')?)?\s*([NSEWO])?\s*", re.I)  # fmt: skip # noqa: E501


@dataclass(frozen=True)
class Deployment:
    """One stay of a recorder at a site.

    Attributes:
        names: what the recorder is called: its name, and the deployment's where there is one.
        place: latitude and longitude, degrees; None: not told.
        begin, end: the first moment, and the first no more; with their zone, or as the site's
            clocks show; None: without limit.
        zone: of the site; clock: of the recorder, where it is another.
        row: of the table.
    """

    names: tuple[str, ...]
    site: str
    place: tuple[float, float] | None
    begin: datetime | None
    end: datetime | None
    zone: tzinfo | None
    clock: tzinfo | None
    row: int

    def covers(self, local: datetime, zone: tzinfo | None) -> bool:
        """Whether the stay holds a moment, as the clocks of a zone show it."""
        after = self.begin is None or local >= _shown(self.begin, zone)
        return after and (self.end is None or local < _shown(self.end, zone))


def _shown(moment: datetime, zone: tzinfo | None) -> datetime:
    if moment.tzinfo is None:
        return moment
    return (moment.astimezone(zone) if zone else moment).replace(tzinfo=None)


class Deployments:
    """The stays of all recorders; looked up by what a recorder may be called.

    Args:
        path: a table with the columns recorder and site, perhaps lat, lon, from, to, timezone and
            clock (`COLUMNS` has their other names).
        zone: of the sites, where the table does not say.

    Raises:
        UserError: a column is missing, a cell is nothing of its kind, or one recorder is at two
            sites at once; with the row.
    """

    def __init__(self, path: Path, zone: tzinfo | None = None) -> None:
        self.path = path
        self.all = _read(path, zone)
        self._by_name: dict[str, list[Deployment]] = {}
        for stay in self.all:
            for name in {name.casefold() for name in stay.names}:
                self._by_name.setdefault(name, []).append(stay)
        for stays in self._by_name.values():
            self._refuse_overlaps(stays)

    def of(self, names: Sequence[str]) -> list[Deployment]:
        """The stays of a recorder, by the first of its names that the table has."""
        for name in names:
            if stays := self._by_name.get(name.casefold()):
                return stays
        return []

    def _refuse_overlaps(self, stays: list[Deployment]) -> None:
        early, late = datetime.min, datetime.max
        spans = [
            (_shown(s.begin or early, s.zone), _shown(s.end or late, s.zone))
            for s in stays
        ]  # fmt: skip
        order = sorted(range(len(stays)), key=lambda i: spans[i])
        for a, b in pairwise(order):
            if spans[b][0] < spans[a][1]:
                one, two = stays[a], stays[b]
                sites = f"{one.site} and at {two.site}" if one.site != two.site else one.site
                raise UserError(
                    f"{self.path}, rows {one.row} and {two.row}: {one.names[0]} is at {sites} "
                    f"{'twice' if one.site == two.site else 'at once'}; put from and to right, "
                    "remove one row, or give two recorders two names"
                )


def _read(path: Path, zone: tzinfo | None) -> list[Deployment]:
    table = read_texts(path, short=True)
    for problem in table.problems:
        if problem.fatal:
            raise UserError(str(problem))
    known = {plain(name): name for name in reversed(table.names)}
    columns = {
        ours: [known[name] for name in names if name in known] for ours, names in COLUMNS.items()
    }
    if not columns["recorder"] and columns["site"]:
        columns["recorder"] = columns["site"]  # folders are called after sites
    if not columns["recorder"] or bool(columns["lat"]) != bool(columns["lon"]):
        missing = "recorder" if not columns["recorder"] else "lat or lon"
        raise UserError(
            f"{path}: has no column {missing}; it has {', '.join(table.names)}, and a table of "
            "deployments has recorder, site, lat, lon, from, to"
        )
    cells = {
        name: [table.text(column).tolist() for column in found] for name, found in columns.items()
    }
    stays = [_stay(table, cells, i) for i in range(len(table.rows))]
    if not stays:
        raise UserError(f"{path}: has no rows")
    _refuse_swapped(path, stays, zone)
    return stays


def _refuse_swapped(path: Path, stays: Sequence[Deployment], zone: tzinfo | None) -> None:
    """A place far from where the others are, or its time zone is, and near there if swapped."""
    placed = [(stay, stay.place) for stay in stays if stay.place is not None]
    middle = None
    if len(placed) >= 3:
        middle = np.median(np.array([place for _, place in placed], float), axis=0)
    for stay, place in placed:
        own = stay.zone or zone
        for near, at, far_deg, share in (
            ("the other rows", middle, FAR_DEG, 0.1),
            (zone_name(own), place_of_zone(own), 2 * FAR_DEG, 0.5),  # a zone is wide
        ):
            if at is None:
                continue
            off, swapped = (np.abs(np.subtract(one, at)).max() for one in (place, place[::-1]))
            if off > far_deg and swapped < share * off:
                raise UserError(
                    f"{path}, row {stay.row}: lat is {place[0]:g} and lon {place[1]:g}: they look "
                    f"swapped; the other way round they are beside {near}"
                )


def _stay(table: Table, cells: dict[str, list[list[str]]], i: int) -> Deployment:
    def cell(name: str) -> str:
        written = (column[i] for column in cells[name])
        return next((text for text in written if text.casefold() not in NOTHING), "")

    row = int(table.rows[i])
    where = f"{table.path}, row {row}"
    names = tuple(dict.fromkeys(column[i] for column in cells["recorder"] if column[i]))
    if not names:
        raise UserError(f"{where}: names no recorder")
    try:
        zones = [zone_of(text) if (text := cell(name)) else None for name in ("zone", "clock")]
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    begin, end = _moment(cell("from"), where), _moment(cell("to"), where, last=True)
    if begin and end and _shown(begin, zones[0]) >= _shown(end, zones[0]):
        raise UserError(f"{where}: ends before it begins ({cell('from')} to {cell('to')})")
    place = _place(cell("lat"), cell("lon"), where)
    return Deployment(names, cell("site") or names[0], place, begin, end, zones[0], zones[1], row)


def _place(lat: str, lon: str, where: str) -> tuple[float, float] | None:
    if not lat and not lon:
        return None
    values = []
    for name, text in (("lat", lat), ("lon", lon)):
        try:
            values.append(float(text.translate(_SIGNS).removesuffix("°").strip()))
        except ValueError:
            raise UserError(f"{where}: {name} is {text!r}{_in_degrees(text)}") from None
    (a, b) = values
    if abs(a) > 90 and abs(a) <= 180 and abs(b) <= 90:
        raise UserError(
            f"{where}: lat is {a:g} and lon {b:g}: they look swapped; no lat is over 90"
        )
    if not (abs(a) <= 90 and abs(b) <= 180):
        raise UserError(f"{where}: lat {a:g}, lon {b:g} is no place; degrees are wanted (WGS 84)")
    if (a, b) == (0, 0):
        raise UserError(f"{where}: lat 0, lon 0 is in the sea off Africa; leave both empty")
    return a, b


def _in_degrees(text: str) -> str:
    found = _DMS.fullmatch(text)
    if found is None:
        return ", where a number of degrees should be"
    degrees, minutes, seconds = (
        float((part or "0").replace(",", ".")) for part in found.groups()[:3]
    )
    sign = -1 if degrees < 0 or (found[4] or "N").upper() in "SW" else 1
    value = sign * (abs(degrees) + minutes / 60 + seconds / 3600)
    return f": degrees and minutes; write it as decimal degrees, {value:.5f}"


def _moment(text: str, where: str, *, last: bool = False) -> datetime | None:
    """A day or a moment; of the ``last`` day all hours count."""
    if not text or re.match("0001-|9999-", text):  # databases write so: without limit
        return None
    found = moment_of(text)
    if found is None:
        raise UserError(
            f"{where}: {text!r} is no date; write it as 2024-05-31, or 2024-05-31 22:39"
        )
    clock, zone = found
    only_day = len(text) <= 10
    return (clock + timedelta(days=1) if last and only_day else clock).replace(tzinfo=zone)
