"""Pictures of a season: hour by date with sunrise and sunset, season curves, a map of sites.

Shapes: D days, H = 24 hours, S sites.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.evaluation.figures.style import BLUE, COLORS, GREY, ORANGE, drawing, short_names
from g5.field.season import local_of
from preprocessing.recorders.sun import sun_days
from preprocessing.recorders.zones import zone_of

# Panels of one picture, sites with a line of their own, and names on a map.
PANELS, LINES, NAMED = 24, len(COLORS), 30
SMOOTH_DAYS = 7
_DAY = np.timedelta64(1, "D")


def heat_maps(hours: pd.DataFrame, label: str, places: pd.DataFrame, path: Path) -> list[Path]:
    """Calls per analysed hour, hour of day by date, a panel a site; several pictures of many sites.

    Args:
        hours: ``site, label, date, hour, analysed_min, calls``.
        label: of which it is.
        places: ``lat, lon, zone`` by site; without them there are no lines of the sun.
        path: of the first; the others are numbered.
    """
    own = hours.loc[hours["label"] == label]
    first, last = own["date"].min(), own["date"].max()
    days = int((last - first).days) + 1
    sites = sorted(set(own["site"]))
    rates = {site: _rate(rows, first, days) for site, rows in own.groupby("site")}
    finite = np.concatenate([rate[np.isfinite(rate)] for rate in rates.values()] or [np.zeros(1)])
    called = finite[finite > 0]
    top = float(np.percentile(called, 99)) if len(called) else 1.0
    paths = []
    for begin in range(0, len(sites), PANELS):
        part = sites[begin : begin + PANELS]
        at = path if not begin else path.with_stem(f"{path.stem}_{begin // PANELS + 1}")
        _panels({s: rates[s] for s in part}, places, first.to_datetime64(), top, at)
        paths.append(at)
    return paths


def _rate(rows: pd.DataFrame, first: pd.Timestamp, days: int) -> np.ndarray:
    """Calls an hour, (H, D); NaN where nothing was analysed."""
    calls_HD, minutes_HD = np.zeros((24, days)), np.zeros((24, days))
    where = rows["hour"].to_numpy(), (rows["date"] - first).dt.days.to_numpy()
    np.add.at(calls_HD, where, rows["calls"].to_numpy(float))
    np.add.at(minutes_HD, where, rows["analysed_min"].to_numpy(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(minutes_HD > 0, calls_HD / minutes_HD * 60, np.nan)


def _panels(
    rates: dict[str, np.ndarray], places: pd.DataFrame, first: np.datetime64, top: float, path: Path
) -> None:
    from matplotlib.colors import PowerNorm

    columns = min(4, max(1, int(np.ceil(len(rates) / 6)))) if len(rates) > 1 else 1
    rows = int(np.ceil(len(rates) / columns))
    width = 10.0 if columns == 1 else 3.4 * columns + 1
    with drawing(path, width, max(2.6, 1.75 * rows + 0.6)) as figure:
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        names = short_names(list(rates), 28)
        image = None
        for axis, (site, rate_HD), name in zip(axes.flat, rates.items(), names, strict=False):
            days = rate_HD.shape[1]
            begin = _number(first)
            axis.set_facecolor("#D8D8D8")
            image = axis.imshow(
                rate_HD, origin="lower", aspect="auto", interpolation="nearest", cmap="viridis",
                norm=PowerNorm(0.5, 0, top), extent=(begin, begin + days, 0, 24),
            )  # fmt: skip
            axis.grid(False)
            axis.set_title(name, fontsize=9, pad=2)
            axis.set_yticks([0, 6, 12, 18, 24])
            _sun_lines(axis, places, site, first, days)
        for axis in list(axes.flat)[len(rates) :]:
            axis.set_visible(False)
        _date_axis(axes.flat[0])
        for axis in axes[:, 0]:
            axis.set_ylabel("hour")
        assert image is not None
        figure.colorbar(image, ax=axes, label="calls per hour", shrink=0.8 if rows > 1 else 1.0)


def _sun_lines(axis: Any, places: pd.DataFrame, site: str, first: np.datetime64, days: int) -> None:
    """Sunrise and sunset by the site's clocks, broken where they pass midnight."""
    lat, lon, zone = places.loc[site, ["lat", "lon", "zone"]]
    if np.isnan(lat) or not zone:
        return
    day_D = first.astype("datetime64[D]") + np.arange(days) * _DAY
    offset = zone_of(zone).utcoffset(first.astype("datetime64[s]").item())
    hours = offset.total_seconds() / 3600 if offset else 0.0
    sun = sun_days(float(lat), float(lon), day_D, hours)
    for moment_D in (sun.sunrise, sun.sunset):
        good = ~np.isnat(moment_D)
        hour_D = np.full(days, np.nan)
        utc = moment_D[good].astype("datetime64[ms]")
        local = local_of(utc, np.full(len(utc), zone, object), np.full(len(utc), True))
        seconds = (local - local.astype("datetime64[D]")).astype("timedelta64[s]").astype(float)
        hour_D[good] = seconds / 3600
        hour_D[1:][np.abs(np.diff(hour_D)) > 12] = np.nan
        middle = _number(first) + np.arange(days) + 0.5
        axis.plot(middle, hour_D, color="white", linewidth=2.2)
        axis.plot(middle, hour_D, color=ORANGE, linewidth=1.1)
    axis.set_ylim(0, 24)


def season_curves(days: pd.DataFrame, label: str, path: Path) -> Path:
    """Calls per analysed hour over the season, running means; of many sites all and their mean."""
    own = days.loc[days["label"] == label]
    first, last = own["date"].min(), own["date"].max()
    count = int((last - first).days) + 1
    curves = {str(site): _smooth(rows, first, count) for site, rows in own.groupby("site")}
    middle = _number(first.to_datetime64()) + np.arange(count) + 0.5
    few = len(curves) <= LINES
    with drawing(path, 10, 3.6) as figure:
        axis = figure.subplots()
        for i, (name, curve) in enumerate(
            zip(short_names(list(curves)), curves.values(), strict=True)
        ):
            if few:
                axis.plot(
                    middle, curve, color=COLORS[i], label=name, linewidth=1.6, marker=".",
                    markevery=_alone(curve),
                )  # fmt: skip
            else:
                axis.plot(middle, curve, color=GREY, alpha=0.35, linewidth=0.7)
        if not few:
            mean, each = _smooth(own, first, count), f"each of {len(curves)} sites"
            axis.plot(middle, mean, color=BLUE, label="all sites", linewidth=2.4)
            axis.plot([], [], color=GREY, alpha=0.6, linewidth=0.7, label=each)
        axis.set_ylabel("calls per hour")
        axis.set_ylim(bottom=0)
        axis.set_xlim(middle[0] - 0.5, middle[-1] + 0.5)
        _date_axis(axis)
        axis.legend(
            fontsize=8, ncols=min(4, len(axis.get_lines())), loc="lower right",
            bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2,  # above, where no line can be hidden
        )  # fmt: skip
    return path


def _alone(curve_D: np.ndarray) -> list[int]:
    """Days without a neighbour, of which a line shows nothing."""
    known = np.concatenate([[False], np.isfinite(curve_D), [False]])
    return np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:]).tolist()


def _smooth(rows: pd.DataFrame, first: pd.Timestamp, count: int) -> np.ndarray:
    """Calls over effort of the days around each, (D,); NaN on a day without effort."""
    sums = np.zeros((2, count))
    where = (rows["date"] - first).dt.days.to_numpy()
    np.add.at(sums[0], where, rows["calls"].to_numpy(float))
    np.add.at(sums[1], where, rows["analysed_min"].to_numpy(float) / 60)
    window = min(SMOOTH_DAYS, 1 if count < 2 * SMOOTH_DAYS else SMOOTH_DAYS)
    calls, hours = (np.convolve(row, np.ones(window), "same") for row in sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[1] > 0, calls / hours, np.nan)


def site_map(totals: pd.DataFrame, label: str, path: Path) -> Path:
    """Sites by longitude and latitude, as large as calls per hour; hollow where nothing called.

    Args:
        totals: ``lat, lon, calls_per_hour`` by site, with known places.
    """
    rate = totals["calls_per_hour"].fillna(0).to_numpy(float)
    lat, lon = totals["lat"].to_numpy(float), totals["lon"].to_numpy(float)
    size = 30 + 370 * rate / max(float(rate.max()), 1e-9)
    with drawing(path, 8, 6) as figure:
        axis = figure.subplots()
        called = rate > 0
        axis.scatter(lon[called], lat[called], s=size[called], color=BLUE, alpha=0.55, linewidth=0)
        axis.scatter(lon[~called], lat[~called], s=30, facecolors="none", edgecolors=GREY)
        names = short_names([str(site) for site in totals.index], 20)
        for i in _apart(lon, lat, np.argsort(-rate, kind="stable")):
            text = f"{names[i]} {rate[i]:.3g}" if called[i] else names[i]
            axis.annotate(text, (lon[i], lat[i]), (6, 4), textcoords="offset points", fontsize=8)
        axis.set_aspect(1 / max(np.cos(np.radians(lat.mean())), 0.05), adjustable="datalim")
        axis.margins(0.15)
        axis.ticklabel_format(useOffset=False)
        axis.set_xlabel("longitude (°)")
        axis.set_ylabel("latitude (°)")
        axis.set_title(f"{label}: calls per hour")
    return path


def _apart(x_S: np.ndarray, y_S: np.ndarray, order_S: np.ndarray) -> list[int]:
    """The first sites in an order whose names do not lie over one another."""
    width, height = np.ptp(x_S) or 1.0, np.ptp(y_S) or 1.0
    kept: list[int] = []
    for i in order_S.tolist():
        near = (abs(x_S[kept] - x_S[i]) < 0.22 * width) & (abs(y_S[kept] - y_S[i]) < 0.03 * height)
        if not near.any() and len(kept) < NAMED:
            kept.append(i)
    return kept


def _number(day: np.datetime64) -> float:
    """A day as matplotlib counts them."""
    return float(day.astype("datetime64[D]").astype(int))


def _date_axis(axis: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=6)
    axis.xaxis_date()
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def site_places(recordings: pd.DataFrame) -> pd.DataFrame:
    """``lat, lon, zone`` of every site: the medians of its recordings, and their last zone."""
    groups = recordings.groupby("site", sort=True)
    return pd.DataFrame({
        "lat": groups["lat"].median(), "lon": groups["lon"].median(), "zone": groups["zone"].max(),
    })  # fmt: skip
