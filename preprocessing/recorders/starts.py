"""When, by which recorder and where every recording was made, from what there is to know it by."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import chain
from pathlib import Path

import pandas as pd
import soundfile

from g5.common.elsewhere import kept
from g5.common.errors import UserError
from g5.common.progress import track
from preprocessing.decoder_noise import quiet_decoder
from preprocessing.recorders.chunks import wav_stamps
from preprocessing.recorders.deployments import Deployment, Deployments
from preprocessing.recorders.names import NAME, NamePattern, name_stamp
from preprocessing.recorders.stamp import UTC, Stamp
from preprocessing.recorders.table import TABLE, TimesTable
from preprocessing.recorders.zones import in_zone, zone_name, zone_of

MTIME, LEDGER = "modified", "ledger"
COLUMNS = [
    "file", "recorder", "site", "lat", "lon", "zone", "start_utc", "start_local", "source",
    "duration_s", "serial", "note",
]  # fmt: skip
# What a row says of a clock that cannot be believed.
RESET, FUTURE = "its clock was reset", "in the future"
# No recorder is older; clocks that lost their power begin at 1970, or 2000.
_FIRST_YEAR = 2001
# Files that a thread takes from the queue: to ask for each alone takes as long as reading a name.
_THREADS, _AT_ONCE = 8, 64
# Sources whose word for a recorder is a name, and no serial number.
_NAMING = (TABLE, LEDGER, NAME)


@dataclass(frozen=True)
class Clues:
    """What the user says beside the recordings.

    Attributes:
        zone: time zone of the sites, in which days and hours are told.
        clock: of clocks that do not say theirs; None: that of their site.
        pattern: of dates in names, as `strptime` takes it.
        times: a table of files and their starts.
        deployments: a table of recorders, sites and their coordinates.
        mtime: believe when a file was last changed, where nothing else is known.
    """

    zone: str | None = None
    clock: str | None = None
    pattern: str | None = None
    times: Path | None = None
    deployments: Path | None = None
    mtime: bool = False

    def reader(self) -> "StartReader":
        """What reads by these.

        Raises:
            UserError: one of them is nothing of its kind.
        """
        return StartReader(self)


@dataclass(frozen=True)
class Header:
    """What a recording itself says: its length, seconds, NaN if unknown, and its sources."""

    duration_s: float
    stamps: Sequence[Stamp]


class StartReader:
    """Finds out when and where recordings were made.

    Args:
        clues: what the user says.
    """

    def __init__(self, clues: Clues) -> None:
        self.clues = clues
        self.zone = zone_of(clues.zone) if clues.zone else None
        self.clock = zone_of(clues.clock) if clues.clock else None
        self.pattern = NamePattern(clues.pattern) if clues.pattern else None
        self.times = TimesTable(clues.times) if clues.times else None
        table = clues.deployments
        self.deployments = Deployments(table, self.zone) if table else None
        self._now = datetime.now(UTC)

    def read(
        self, files: Sequence[Path], durations_s: Mapping[str, float] | None = None,
        told: Mapping[str, Stamp] | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """A row a recording with `COLUMNS`, in order of ``files``.

        ``start_utc`` and ``start_local`` are datetimes without a zone, NaT where they are not
        known; ``note`` says what is odd.

        Args:
            files: recordings; what is not there is known by its name.
            durations_s: lengths that are known, by path, seconds.
            told: what is known of some already, by path: those are not opened.
        """
        known, told = durations_s or {}, told or {}
        if self.times:
            self.times.look_among(files)
        size = max(1, min(_AT_ONCE, len(files) // (8 * _THREADS)))
        parts = [files[first : first + size] for first in range(0, len(files), size)]
        with ThreadPoolExecutor(_THREADS) as pool:
            headers = chain.from_iterable(pool.map(
                lambda part: [self._header(file, told.get(str(file))) for file in part], parts
            ))  # fmt: skip
            rows = [
                self._row(file, header, known.get(str(file)))
                for file, header in zip(
                    files,
                    track(headers, total=len(files), label="when", unit="recordings"),
                    strict=True,
                )
            ]
        return _parted(table_of(rows))

    def _header(self, file: Path, known: Stamp | None) -> Header:
        if known is not None:
            named = name_stamp(file, self.pattern)
            return Header(float("nan"), [known, named] if named else [known])
        stamps: list[Stamp] = []
        if self.times and (told := self.times.of(file)):
            stamps.append(told)
        duration_s = float("nan")
        try:
            layout, written = wav_stamps(file)
            stamps += written
            if layout is not None:
                duration_s = layout.frames / layout.rate_hz
            else:
                with kept.local(file) as there, quiet_decoder():
                    duration_s = soundfile.info(there).duration
            if self.clues.mtime:
                changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
                begun = changed - timedelta(seconds=duration_s)
                stamps.append(Stamp(MTIME, begun.replace(tzinfo=None), UTC))
        except (OSError, ValueError, soundfile.LibsndfileError):
            pass  # not there, or no sound: whoever reads it says so
        named = name_stamp(file, self.pattern)
        if named is not None:
            at = len(stamps) - (1 if stamps and stamps[-1].source == MTIME else 0)
            stamps.insert(at, named)
        return Header(duration_s, stamps)

    def _row(self, file: Path, header: Header, duration_s: float | None) -> dict:
        names = _names(file, header.stamps)
        stays = self.deployments.of(names) if self.deployments else []
        place = next((stamp.place for stamp in header.stamps if stamp.place), None)
        timed = [stamp for stamp in header.stamps if stamp.clock is not None]
        notes: list[str] = []
        start, stay = None, None
        for stamp in timed:
            start, stay, note = self._start(stamp, stays)
            if note:
                notes.append(f"{stamp.source}: {note}")
            if start is not None:
                notes += _disagreement(stamp, timed)
                break
        if start is None and stays and len({one.site for one in stays}) == 1:
            stay = stays[0]
        if self.deployments and stay is None and start is not None:
            name = names[0] if names else file.name
            why = f"{name} does not stand anywhere then" if stays else f"has no {name}"
            notes.append(f"{self.deployments.path.name}: {why}")
        if stay is not None:
            place = stay.place or place
        source = "" if start is None else stamp.source
        return {
            "file": str(file),
            "recorder": stay.names[0] if stay else (names[0] if names else ""),
            "site": stay.site if stay else "",
            "lat": place[0] if place else None, "lon": place[1] if place else None,
            **_moments(start, self._zone_at(stay)), "source": source,
            "duration_s": header.duration_s if duration_s is None else duration_s,
            "serial": next((s.recorder for s in header.stamps if s.source not in _NAMING), ""),
            "note": "; ".join(notes),
        }  # fmt: skip

    def _zone_at(self, stay: Deployment | None) -> tzinfo | None:
        return (stay.zone if stay else None) or self.zone

    def _start(
        self, stamp: Stamp, stays: Sequence[Deployment]
    ) -> tuple[datetime | None, Deployment | None, str]:
        """The moment, with its zone if that is known; the stay it falls into; what is odd."""
        clock = stamp.clock
        assert clock is not None
        if clock.year < _FIRST_YEAR:
            return None, None, f"{RESET} ({clock:%Y-%m-%d %H:%M:%S})"
        stay, moment = None, clock
        for one in [*stays, None]:
            zone = stamp.zone or (one.clock if one else None) or self.clock or self._zone_at(one)
            try:
                moment = in_zone(clock, zone) if zone else clock
            except UserError as error:
                return None, None, str(error)
            shown = self._zone_at(one)
            local = moment.astimezone(shown) if zone and shown else moment
            if one is not None and one.covers(local.replace(tzinfo=None), local.tzinfo):
                stay = one
                break
        if (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) > self._now + timedelta(
            days=1
        ):
            return None, stay, f"{clock:%Y-%m-%d %H:%M:%S} is {FUTURE}"
        return moment, stay, ""


def table_of(rows: Sequence[dict]) -> pd.DataFrame:
    """Rows as `StartReader.read` gives them."""
    table = pd.DataFrame(rows, columns=COLUMNS)
    for name in ("start_utc", "start_local"):
        table[name] = pd.to_datetime(table[name]).astype("datetime64[ms]")
    return table.astype(dict.fromkeys(("lat", "lon", "duration_s"), float))


def odd_starts(table: pd.DataFrame) -> list[str]:
    """What is odd of single recordings of `StartReader.read`, a line for all that are alike."""
    odd = table.loc[(table["note"] != "") | table["start_local"].isna()]
    kinds: dict[str, list[tuple[str, str]]] = {}
    for file, note in zip(odd["file"], odd["note"], strict=True):
        kind = RESET if RESET in note else note.partition(" (")[0] or "nothing says when"
        kinds.setdefault("".join(c for c in kind if not c.isdigit()), []).append((file, note))
    lines = []
    for found in kinds.values():
        more = f", and {len(found) - 1:,} more like it" if len(found) > 1 else ""
        lines.append(f"{found[0][0]}: {found[0][1] or 'nothing says when it begins'}{more}")
    return lines


def _parted(table: pd.DataFrame) -> pd.DataFrame:
    """Recorders of one name with several serial numbers are several, unless a table knows them."""
    serials = table.loc[table["serial"] != ""].groupby("recorder")["serial"].nunique()
    doubled = table["recorder"].isin(serials.index[serials > 1]) & (table["serial"] != "")
    doubled &= table["site"] == ""
    table.loc[doubled, "recorder"] += " (" + table.loc[doubled, "serial"] + ")"
    return table


def _names(file: Path, stamps: Sequence[Stamp]) -> list[str]:
    """What its recorder may be called: a table's word, before the date in the name, its serial
    number, its folders from the last one up."""
    told = [stamp.recorder for stamp in stamps if stamp.source in (TABLE, LEDGER)]
    named = [stamp.recorder for stamp in stamps if stamp.source == NAME]
    serials = [stamp.recorder for stamp in stamps if stamp.source not in _NAMING]
    folders = [part for part in reversed(file.parts[:-1]) if part != file.anchor]
    return [name for name in [*told, *named, *serials, *folders] if name]


def _moments(start: datetime | None, zone: tzinfo | None) -> dict:
    if start is None:
        return {"zone": zone_name(zone), "start_utc": None, "start_local": None}
    if start.tzinfo is None:
        return {"zone": "", "start_utc": None, "start_local": start}
    local = start.astimezone(zone) if zone else start
    utc = start.astimezone(UTC).replace(tzinfo=None)
    name = zone_name(local.tzinfo)
    return {"zone": name, "start_utc": utc, "start_local": local.replace(tzinfo=None)}


def _disagreement(stamp: Stamp, others: Sequence[Stamp]) -> list[str]:
    """Where the name says another time than the source that is believed, by more than zones do."""
    named = next((other for other in others if other.source == NAME), None)
    if named is None or named is stamp or stamp.source in (TABLE, LEDGER):
        return []
    assert stamp.clock is not None
    assert named.clock is not None
    apart = abs((stamp.clock - named.clock).total_seconds())
    zones = abs(apart - round(apart / 900) * 900) <= 2 and apart <= 14 * 3600
    return [] if zones else [f"its name says {named.clock:%Y-%m-%d %H:%M:%S}"]
