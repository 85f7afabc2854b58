"""Sunrise, sunset, civil twilight and the moon, by low-precision formulas, for arrays of days.

Sun: NOAA's Solar Calculator after Meeus, Astronomical Algorithms (1998), chapters 25 and 15; right
to a minute between the polar circles. Moon: Meeus, chapter 48, to half a per cent.

Shapes: N days.
"""

from dataclasses import dataclass

import numpy as np

# Elevation of the sun's centre: refraction and half its disc, and where civil twilight begins.
HORIZON_DEG, TWILIGHT_DEG = -0.833, -6.0
NAMES = ("dawn", "sunrise", "sunset", "dusk")
_DAY_S = 86400
_J2000 = np.datetime64("2000-01-01T12:00:00", "s")


@dataclass(frozen=True)
class SunDays:
    """The sun on N days at one place, as UTC, datetime64[s]; NaT where there is none.

    Attributes:
        up: whether the sun is up at noon, by which a day without a sunrise is told from a night.
    """

    dawn: np.ndarray
    sunrise: np.ndarray
    sunset: np.ndarray
    dusk: np.ndarray
    up: np.ndarray


def sun_days(lat: float, lon: float, day_N: np.ndarray, offset_h: float = 0.0) -> SunDays:
    """Dawn, sunrise, sunset and dusk of the daylight around each day's noon.

    Args:
        lat, lon: degrees, north and east positive.
        day_N: local dates, datetime64[D].
        offset_h: hours that the place's clocks are before UTC, by which a date is told from its
            neighbours near the date line.
    """
    shift = round((offset_h - lon / 15) / 24)
    middle_N = day_N.astype("datetime64[s]") + _seconds(43200 - lon * 240 - shift * _DAY_S)
    noon_N = middle_N - _seconds(60 * _sun(middle_N)[1])
    noon_N = middle_N - _seconds(60 * _sun(noon_N)[1])
    found = {}
    for name, side, elevation in (
        ("dawn", -1, TWILIGHT_DEG), ("sunrise", -1, HORIZON_DEG),
        ("sunset", 1, HORIZON_DEG), ("dusk", 1, TWILIGHT_DEG),
    ):  # fmt: skip
        at_N = noon_N
        for _ in range(3):
            declination, equation = _sun(at_N)
            angle = np.degrees(np.arccos(_cos_hour(lat, declination, elevation)))
            good = np.isfinite(angle)
            transit_N = middle_N - _seconds(60 * equation)
            at_N = transit_N + _seconds(np.where(good, side * angle * 240, 0))
        found[name] = np.where(good, at_N, np.datetime64("NaT"))
    return SunDays(
        **found, up=np.cos(np.radians(lat) - _sun(noon_N)[0]) > np.sin(np.radians(HORIZON_DEG))
    )


def moon_lit(moment_N: np.ndarray) -> np.ndarray:
    """The share of the moon's disc that is lit, (N,) from 0, new, to 1, full."""
    t = _centuries(moment_N)
    d = np.radians(297.8501921 + 445267.1114034 * t)
    m = np.radians(357.5291092 + 35999.0502909 * t)
    k = np.radians(134.9633964 + 477198.8675055 * t)
    i = 180 - np.degrees(d) - 6.289 * np.sin(k) + 2.1 * np.sin(m) - 1.274 * np.sin(2 * d - k)
    i += -0.658 * np.sin(2 * d) - 0.214 * np.sin(2 * k) - 0.11 * np.sin(d)
    return (1 + np.cos(np.radians(i))) / 2


def _cos_hour(lat: float, declination: np.ndarray, elevation_deg: float) -> np.ndarray:
    """Cosine of the hour angle at which the sun is that high; NaN where it never is."""
    phi = np.radians(lat)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (np.sin(np.radians(elevation_deg)) - np.sin(phi) * np.sin(declination)) / (
            np.cos(phi) * np.cos(declination)
        )
        return np.where(np.abs(cosine) <= 1, cosine, np.nan)


def _sun(moment_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Declination, radians, and the equation of time, minutes."""
    t = _centuries(moment_N)
    mean = np.radians((280.46646 + t * (36000.76983 + t * 0.0003032)) % 360)
    anomaly = np.radians(357.52911 + t * (35999.05029 - 0.0001537 * t))
    eccentric = 0.016708634 - t * (0.000042037 + 0.0000001267 * t)
    centre = np.radians(
        np.sin(anomaly) * (1.914602 - t * (0.004817 + 0.000014 * t))
        + np.sin(2 * anomaly) * (0.019993 - 0.000101 * t)
        + np.sin(3 * anomaly) * 0.000289
    )
    node = np.radians(125.04 - 1934.136 * t)
    longitude = mean + centre - np.radians(0.00569 + 0.00478 * np.sin(node))
    tilt = np.radians(23.43929111 - t * 0.0130042 + 0.00256 * np.cos(node))
    y = np.tan(tilt / 2) ** 2
    equation = (
        y * np.sin(2 * mean) - 2 * eccentric * np.sin(anomaly)
        + 4 * eccentric * y * np.sin(anomaly) * np.cos(2 * mean)
        - 0.5 * y**2 * np.sin(4 * mean) - 1.25 * eccentric**2 * np.sin(2 * anomaly)
    )  # fmt: skip
    return np.arcsin(np.sin(tilt) * np.sin(longitude)), 4 * np.degrees(equation)


def _centuries(moment_N: np.ndarray) -> np.ndarray:
    return (moment_N.astype("datetime64[s]") - _J2000).astype(float) / (36525 * _DAY_S)


def _seconds(value: float | np.ndarray) -> np.ndarray:
    return np.asarray(np.round(value)).astype("timedelta64[s]")
