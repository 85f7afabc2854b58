"""The sun and the moon beside every recording: of its day at its place, on the site's clocks."""

import numpy as np
import pandas as pd

from preprocessing.recorders.sun import NAMES, moon_lit, sun_days

MOON = "moon_lit"


def with_light(table: pd.DataFrame) -> pd.DataFrame:
    """With ``dawn, sunrise, sunset, dusk`` (local datetimes; NaT: none that day) and ``moon_lit``.

    The last is the share of the moon's disc that is lit at the start, 0 to 1. What has no place, no
    start or no time zone has none; where that is all, there are no such columns.

    Args:
        table: of `StartReader.read`.
    """
    local_N = table["start_local"].to_numpy("datetime64[s]")
    utc_N = table["start_utc"].to_numpy("datetime64[s]")
    offset_N = (local_N - utc_N) / np.timedelta64(1, "h")  # NaN where one is not known
    place_N2 = table[["lat", "lon"]].to_numpy(float)
    known = np.flatnonzero(np.isfinite(offset_N) & np.isfinite(place_N2).all(axis=1))
    if not len(known):
        return table
    day_N = local_N.astype("datetime64[D]")
    found = {name: np.full(len(table), "NaT", "datetime64[s]") for name in NAMES}
    keys = np.column_stack([place_N2[known], offset_N[known]])
    for key, at in pd.DataFrame(keys).groupby([0, 1, 2]).indices.items():
        lat, lon, offset_h = map(float, key)  # type: ignore[call-overload]
        rows = known[at]
        days, which = np.unique(day_N[rows], return_inverse=True)
        sun = sun_days(lat, lon, days, offset_h)
        ahead = np.timedelta64(round(offset_h * 3600), "s")
        for name in NAMES:
            found[name][rows] = (getattr(sun, name) + ahead)[which]
    moon_N = np.full(len(table), np.nan)
    moon_N[known] = moon_lit(utc_N[known]).round(3)
    return table.assign(**found, **{MOON: moon_N})
