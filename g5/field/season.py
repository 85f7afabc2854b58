"""What a detection left behind, with when and where each recording and event was.

Shapes: R recordings, E events, Q quarters of hours that recordings cover.
"""

from dataclasses import dataclass
from datetime import timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.spreadsheet import unguarded
from g5.evaluation.events.ground_truth import (
    LEDGER,
    PREDICTIONS,
    SUPPORT_CSV,
    check_found,
    read_ledger,
)
from preprocessing.recorders import starts
from preprocessing.recorders.stamp import Stamp, moment_of
from preprocessing.recorders.starts import Clues
from preprocessing.recorders.zones import zone_of

CELL = ["site", "recorder", "date", "hour"]
QUARTER_S = 900  # of every time zone's offset a divisor


@dataclass(frozen=True)
class Season:
    """Recordings and events of a detection.

    Attributes:
        recordings: as `StartReader.read` has them, with ``status`` of the ledger; ``site`` is the
            recorder where none is told; R rows.
        events: ``recording`` (a row of `recordings`), ``label``, ``into_s``, ``own`` (the user's,
            from the support), ``local``; E rows.
        labels: that were looked for, sorted.
    """

    recordings: pd.DataFrame
    events: pd.DataFrame
    labels: list[str]

    def effort(self) -> pd.DataFrame:
        """Minutes by ``site, recorder, date, hour``: ``recorded_min`` and ``analysed_min``.

        Recordings are cut at quarters of hours, so that each minute counts in its hour of the
        site's clocks, also where these are put forward or back.
        """
        table = self.recordings
        start_R = axis_of(table).to_numpy("datetime64[ms]")
        length_R = np.round(table["duration_s"].fillna(0).to_numpy(float) * 1000).astype(np.int64)
        known = np.flatnonzero(~np.isnat(start_R) & (length_R > 0))
        begin = start_R[known].astype(np.int64)
        end, size = begin + length_R[known], QUARTER_S * 1000
        count = (end - 1) // size - begin // size + 1
        which_Q = np.repeat(np.arange(len(known)), count)
        nth_Q = np.arange(len(which_Q)) - np.repeat(np.cumsum(count) - count, count)
        edge_Q = (begin[which_Q] // size + nth_Q) * size
        from_Q = np.maximum(edge_Q, begin[which_Q])
        minutes_Q = (np.minimum(edge_Q + size, end[which_Q]) - from_Q) / 60000
        rows_Q = known[which_Q]
        local = local_of(from_Q.astype("datetime64[ms]"), table["zone"].to_numpy(object)[rows_Q],
                         table["start_utc"].notna().to_numpy()[rows_Q])  # fmt: skip
        cells = pd.DataFrame({
            "site": table["site"].to_numpy(object)[rows_Q],
            "recorder": table["recorder"].to_numpy(object)[rows_Q],
            **_day_and_hour(local),
            "recorded_min": minutes_Q,
            "analysed_min": minutes_Q * (table["status"] == "done").to_numpy()[rows_Q],
        })  # fmt: skip
        return pd.DataFrame(cells.groupby(CELL, as_index=False, sort=True).sum())

    def counts(self) -> pd.DataFrame:
        """``calls`` by ``site, recorder, label, date, hour``, and ``own``, those of the support."""
        events = self.events.loc[self.events["local"].notna()]
        at = events["recording"].to_numpy()
        table = pd.DataFrame({
            **{n: self.recordings[n].to_numpy(object)[at] for n in ("site", "recorder")},
            "label": events["label"].to_numpy(object),
            **_day_and_hour(events["local"].to_numpy("datetime64[ms]")),
            "calls": 1, "own": events["own"].to_numpy(int),
        })  # fmt: skip
        return pd.DataFrame(table.groupby([*CELL, "label"], as_index=False, sort=True).sum())


def read_season(found: Path, clues: Clues) -> Season:
    """Read what `g5 detect` wrote.

    Times and recorders are those of its ledger, if that has them, else of the recordings and their
    names; what the user says comes before both.

    Raises:
        UserError: it is no such folder, or a table of it cannot be read.
    """
    check_found(found)
    ledger = read_ledger(found)
    if ledger.empty:
        raise UserError(
            f"{found / LEDGER}: has no recordings; give the folder that g5 detect wrote to"
        )
    files = ledger["file"].tolist()
    lengths = pd.Series(pd.to_numeric(ledger["duration_s"], errors="coerce")).tolist()
    durations = {f: s for f, s in zip(files, lengths, strict=True) if s > 0}
    asked_anew = clues.times or clues.pattern or clues.clock or clues.mtime
    told = {} if asked_anew else _told(ledger, files)
    table = clues.reader().read([Path(file) for file in files], durations, told)
    if told and clues.zone is None:  # by which it may be known what the job could not tell
        lost = ~table["file"].isin(told)
        table.loc[lost, ["start_utc", "start_local"]] = pd.NaT
        table.loc[lost & (table["note"] == ""), "note"] = "g5 detect knew no start"
    if "site" in ledger and clues.deployments is None:
        table["site"] = ledger["site"].map(unguarded).to_numpy()
    table["site"] = table["site"].where(table["site"] != "", table["recorder"])
    table["status"] = ledger["status"].to_numpy()
    events, labels = _events(found, table)
    return Season(table, events, labels)


def _told(ledger: pd.DataFrame, files: list[str]) -> dict[str, Stamp]:
    """What an earlier look at the recordings found, by their path."""
    if not {"start_utc", "start_local", "recorder"} <= set(ledger):
        return {}
    told = {}
    columns = (ledger[name] for name in ("start_utc", "start_local", "recorder"))
    for file, utc, local, recorder in zip(files, *columns, strict=True):
        clock, shown = moment_of(utc), moment_of(local)
        if shown is None:
            continue
        zone = timezone(shown[0] - clock[0]) if clock else None
        told[file] = Stamp(starts.LEDGER, shown[0], zone, unguarded(recorder))
    return told


def _events(found: Path, recordings: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    path = found / PREDICTIONS
    head = pd.read_csv(path, nrows=0)
    wanted = ["file", "start_s", "label"] + ["support"] * ("support" in head)
    if not set(wanted) <= set(head):
        raise UserError(f"{path}: has no file, start_s and label; g5 detect writes them")
    types: Any = {"file": "category", "label": "category", "start_s": float, "support": str}
    try:
        table = pd.read_csv(path, usecols=wanted, dtype=types, keep_default_na=False)
    except ValueError as error:
        raise UserError(f"{path}: cannot be read ({error})".splitlines()[0]) from error
    place = {file: i for i, file in enumerate(recordings["file"])}
    names = [unguarded(str(name)) for name in table["file"].cat.categories]
    lost = [name for name in names if name not in place]
    if lost:
        raise UserError(f"{path}: has events of {lost[0]}, of which {LEDGER} knows nothing")
    recording = np.array([place[name] for name in names], int)[table["file"].cat.codes]
    spelt = np.array([unguarded(str(name)) for name in table["label"].cat.categories], object)
    label = spelt[table["label"].cat.codes] if len(table) else np.zeros(0, object)
    own = np.full(len(table), False)
    if "support" in table:
        own = table["support"].eq("True").to_numpy(bool)
    into_s = table["start_s"].to_numpy(float)
    moment = axis_of(recordings).to_numpy("datetime64[ms]")[recording]
    moment = moment + np.round(1000 * into_s).astype("timedelta64[ms]")
    zone = recordings["zone"].to_numpy(object)[recording]
    local = local_of(moment, zone, recordings["start_utc"].notna().to_numpy()[recording])
    events = pd.DataFrame({
        "recording": recording, "label": label, "into_s": into_s, "own": own, "local": local,
    })  # fmt: skip
    looked_for = set(spelt)
    if (found / SUPPORT_CSV).is_file():
        support = pd.read_csv(found / SUPPORT_CSV, dtype=str, keep_default_na=False)
        if {"label", "status"} <= set(support):
            looked_for |= set(support.loc[support["status"] == "POS", "label"].map(unguarded))
    return events, sorted(looked_for)


def axis_of(recordings: pd.DataFrame) -> pd.Series:
    """Starts as UTC, or as the clock shows them where its zone is not known."""
    return pd.Series(recordings["start_utc"].fillna(recordings["start_local"]))


def local_of(moment_N: np.ndarray, zone_N: np.ndarray, of_utc_N: np.ndarray) -> np.ndarray:
    """Moments as the clocks of their zones show them; those that are not UTC stay."""
    local_N = moment_N.copy()
    codes_N, names = pd.factorize(np.where(of_utc_N, zone_N, ""))
    for code, name in enumerate(names):
        if name:
            at = np.flatnonzero(codes_N == code)
            there = pd.DatetimeIndex(moment_N[at]).tz_localize("UTC").tz_convert(zone_of(str(name)))
            local_N[at] = there.tz_localize(None).to_numpy("datetime64[ms]")
    return local_N


def _day_and_hour(local_N: np.ndarray) -> dict[str, np.ndarray]:
    day_N = local_N.astype("datetime64[D]")
    return {
        "date": day_N.astype("datetime64[s]"),
        "hour": (local_N - day_N).astype("timedelta64[h]").astype(int),
    }
