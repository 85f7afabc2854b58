"""`g5 data when`: the start of every recording, how it is known, and what is odd about it."""

from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.files import sounds_at
from g5.common.spreadsheet import write_csv
from g5.common.words import counted, length
from preprocessing.recorders.light import with_light
from preprocessing.recorders.starts import Clues, odd_starts
from preprocessing.recorders.sun import NAMES
from preprocessing.recorders.written import texts_of, utc_texts

# Of one kind of oddity, so many are spelled out.
SHOWN = 5
# A step is a gap if it is longer than so many usual ones.
LONG = 2.0


def when(recordings: Path, clues: Clues, out: Path | None) -> int:
    """Print when recordings were made; the exit code, 1 if the start of any is not known.

    Args:
        recordings: one, or a folder of them.
        clues: what the user says beside.
        out: of the table of all; None: none is written.

    Raises:
        UserError: there are none.
    """
    files = sounds_at(recordings)
    if not files:
        raise UserError(f"{recordings}: holds no recordings")
    table = clues.reader().read(files)
    for _, rows in table.groupby("recorder", sort=True):
        for line in recorder_lines(rows):
            print(line)
    unknown = table["start_local"].isna().to_numpy(bool)
    for line in odd_starts(table):
        print(f"note: {line}")
    dated = int((~unknown).sum())
    has = "has" if dated == 1 else "have"
    print(f"{dated:,} of {counted(len(table), 'recording')} {has} a start")
    if dated and table.loc[~unknown, "start_utc"].isna().to_numpy(bool).any():
        print("some are known by their clock alone; --clock UTC or --clock +01:00 says its zone")
    if out is not None:
        write_csv(_texts(table), out)
        print(f"table   {out}")
    return int(unknown.any())


def recorder_lines(rows: pd.DataFrame) -> list[str]:
    """A recorder's season, then its gaps, overlaps and jumps.

    Args:
        rows: of `StartReader.read`, all of one recorder.
    """
    name, site = str(rows["recorder"].iloc[0]) or "(no name)", sorted(set(rows["site"]) - {""})
    places = f" at {', '.join(site)}" if site else ""
    known = rows.loc[rows["start_local"].notna()]
    hours = length(float(np.nansum(rows["duration_s"].to_numpy(float))))
    if known.empty:
        return [f"{name}{places}: {counted(len(rows), 'recording')}, {hours}, no start is known"]
    zones = ", ".join(sorted(set(known["zone"]) - {""})) or "zone unknown"
    sources = known["source"].value_counts()
    told = ", ".join(f"{source} {count:,}" for source, count in sources.items())
    first, last = known["start_local"].min(), known["start_local"].max()
    lines = [
        f"{name}{places}: {counted(len(rows), 'recording')}, {hours}, {first:%Y-%m-%d %H:%M} to "
        f"{last:%Y-%m-%d %H:%M} ({zones}; {told})"
    ]
    return lines + [f"  {line}" for line in oddities(known)]


def oddities(known: pd.DataFrame) -> list[str]:
    """Gaps, overlaps and clocks that ran backwards, of one recorder's dated recordings."""
    moment = known["start_utc"].fillna(known["start_local"])
    order = np.argsort(moment.to_numpy(), kind="stable")
    rows, start = known.iloc[order], moment.to_numpy()[order]
    length_s = rows["duration_s"].fillna(0).to_numpy(float)
    end = start + (length_s * 1000).astype("timedelta64[ms]")
    step_s = np.diff(start).astype("timedelta64[ms]").astype(float) / 1000
    over_s = (end[:-1] - start[1:]).astype("timedelta64[ms]").astype(float) / 1000
    lines = _spelled("gap", np.flatnonzero(_gaps(step_s, length_s[:-1], start)), rows, step_s)
    lines += _spelled("overlap", np.flatnonzero(over_s > 1), rows, over_s)
    folders = np.array([str(Path(str(file)).parent) for file in rows["file"]], object)
    if (apart := np.flatnonzero((over_s > 1) & (folders[:-1] != folders[1:]))).size:
        one, two = folders[apart[0]], folders[apart[0] + 1]
        lines.append(f"perhaps two recorders of one name: {one} and {two}")
    # Names that count on tell the order in which recordings were made.
    files = known["file"].tolist()
    by_name = sorted(range(len(files)), key=lambda i: _counted(files[i]))
    back_s = -np.diff(moment.to_numpy()[by_name]).astype("timedelta64[ms]").astype(float) / 1000
    jumps = np.flatnonzero(back_s > 1) if "name" not in set(known["source"]) else np.zeros(0, int)
    return lines + _spelled("clock jump", jumps, known.iloc[by_name], back_s)


def _counted(file: str) -> tuple[str, tuple[int, str]]:
    """A name in order of the number at its end."""
    path = Path(file)
    digits = len(path.stem) - len(path.stem.rstrip("0123456789"))
    number = int(path.stem[-digits:]) if digits else 0
    return str(path.parent), (number, path.name)


def _gaps(step_s: np.ndarray, length_s: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Which steps are longer than the schedule's: the usual step, and a pause that comes daily."""
    if not len(step_s):
        return np.zeros(0, bool)
    usual = float(np.median(step_s))
    long = step_s > np.maximum(LONG * usual, length_s + 60)
    days = len(np.unique(start.astype("datetime64[D]")))
    if long.sum() < max(2, 0.5 * days):
        return long
    pause = float(np.median(step_s[long]))
    return step_s > pause + max(1800, LONG * usual)


def _spelled(what: str, places: np.ndarray, rows: pd.DataFrame, value_s: np.ndarray) -> list[str]:
    if not len(places):
        return []
    worst = sorted(places.tolist(), key=lambda i: -value_s[i])[:SHOWN]
    shown = "; ".join(
        f"{length(float(value_s[i]))} after {rows['start_local'].iloc[i]:%Y-%m-%d %H:%M:%S} "
        f"({Path(str(rows['file'].iloc[i])).name})"
        for i in worst
    )
    more = f"; and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    return [f"{counted(len(places), what)}: {shown}{more}"]


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    """Moments as text, UTC with its Z, and the sun and the moon of those that have a place."""
    table = with_light(table)
    local = {name: texts_of(pd.Series(table[name])) for name in ("start_local", *NAMES)
             if name in table}  # fmt: skip
    return table.assign(start_utc=utc_texts(pd.Series(table["start_utc"])), **local)
