"""Seasons as tables: which recorders recorded when, what called, what a detector found."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.atomic import write_text

ZONE = "Europe/Berlin"
# Clocks are put forward on this day.
CHANGE = datetime(2024, 3, 31)
FIRST = CHANGE - timedelta(days=14)
RECALL, PRECISION = 0.8, 0.8


@dataclass(frozen=True)
class MadeSeason:
    """A season and its truth.

    Attributes:
        recordings: ``file, recorder, duration_s, local`` (the hour on the site's clocks; NaT where
            the recorder's clock was reset), ``calls`` that there are.
        found: ``file, start_s`` of the events that a detector reports.
    """

    recordings: pd.DataFrame
    found: pd.DataFrame

    def write(self, folder: Path) -> Path:
        """What `g5 detect` would have left behind, and ``sites.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        ledger = self.recordings.loc[:, ["file", "duration_s"]]
        ledger = ledger.assign(status="done", reason="", events=0, support=0)
        ledger.to_csv(folder / "ledger.csv", index=False)
        events = self.found.assign(end_s=self.found["start_s"] + 0.5, label="call", status="POS")
        events.assign(score=0.9, support=False).to_csv(folder / "predictions.csv", index=False)
        self.write_sites(folder / "sites.csv")
        return folder

    def write_sites(self, path: Path) -> Path:
        """A table of deployments."""
        names = sorted(set(self.recordings["recorder"]))
        rows = [f"{name},Site {name},{48 + 0.1 * i:.2f},11.5" for i, name in enumerate(names)]
        write_text(path, "\n".join(["recorder,site,lat,lon", *rows]) + "\n")
        return path


def season(
    recorders: int, days: int, every_min: int, *, faults: bool, seed: int, first: datetime = FIRST
) -> MadeSeason:
    """Recorders of a minute every so often, on UTC; calls come at dawn and dusk.

    Args:
        faults: the last recorder but one has its clock reset for the last third of the season, and
            the last one misses the second quarter.
        seed: of the calls.
    """
    rng, parts = np.random.default_rng(seed), []
    moments = [first + timedelta(minutes=every_min * k) for k in range(days * 1440 // every_min)]
    utc = pd.DatetimeIndex(moments)
    local = utc.tz_localize("UTC").tz_convert(ZONE).tz_localize(None)
    for number in range(recorders):
        name = f"R{number:02d}"
        stamps = utc.strftime("%Y%m%d_%H%M%S").to_numpy(object)
        part = pd.DataFrame({"recorder": name, "duration_s": 60.0, "local": local})
        keep = np.full(len(part), True)
        if faults and number == recorders - 2:
            lost = np.arange(len(part)) >= len(part) * 2 // 3
            since = [
                datetime(1970, 1, 1) + timedelta(minutes=every_min * k) for k in range(lost.sum())
            ]
            stamps[lost] = pd.DatetimeIndex(since).strftime("%Y%m%d_%H%M%S").to_numpy(object)
            part.loc[lost, "local"] = pd.NaT
        if faults and number == recorders - 1:
            quarter = timedelta(days=days / 4)
            keep = (utc < first + quarter) | (utc >= first + 2 * quarter)
        part["file"] = [f"/cards/{name}/{name}_{stamp}.wav" for stamp in stamps]
        parts.append(part.assign(calls=rng.poisson(_rate(local, number)))[keep])
    recordings = pd.concat(parts, ignore_index=True)
    return MadeSeason(recordings, _found(recordings, rng))


def _rate(local: pd.DatetimeIndex, site: int) -> np.ndarray:
    """Calls expected in a minute."""
    hour = local.hour.to_numpy()
    return (0.3 + 6 * np.exp(-((hour - 5) ** 2) / 20) + 3 * np.exp(-((hour - 21) ** 2) / 16)) * (
        1 + 0.5 * site
    )


def _found(recordings: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Of the calls a share, and beside them errors that come at any time."""
    hits = rng.binomial(recordings["calls"].to_numpy(int), RECALL)
    errors = rng.poisson(hits.sum() * (1 / PRECISION - 1) / len(recordings), len(recordings))
    files = np.repeat(recordings["file"].to_numpy(object), hits + errors)
    return pd.DataFrame({"file": files, "start_s": (59 * rng.random(len(files))).round(3)})
