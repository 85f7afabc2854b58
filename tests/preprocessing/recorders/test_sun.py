"""The sun and the moon against astral 3.2, the US Naval Observatory and almanacs."""

import numpy as np
import pytest

from preprocessing.recorders.sun import NAMES, moon_lit, sun_days


def days(*dates: str) -> np.ndarray:
    return np.array(dates, "datetime64[D]")


@pytest.mark.parametrize(
    ("lat", "lon", "offset", "day", "told"),
    [
        (48.1, 11.5, 1, "2024-06-21",
         ["2024-06-21T02:32:03", "2024-06-21T03:14:20",
          "2024-06-21T19:17:28", "2024-06-21T19:59:45"]),
        (48.1, 11.5, 1, "2024-12-21",
         ["2024-12-21T06:24:41", "2024-12-21T07:01:57",
          "2024-12-21T15:22:39", "2024-12-21T15:59:55"]),
        (-33.9, 151.2, 10, "2024-03-20",
         ["2024-03-19T19:33:09", "2024-03-19T19:58:34",
          "2024-03-20T08:06:07", "2024-03-20T08:31:29"]),
        (0.0, -78.5, -5, "2024-09-22",
         ["2024-09-22T10:42:21", "2024-09-22T11:03:25",
          "2024-09-22T23:09:33", "2024-09-22T23:30:37"]),
        (64.1, -21.9, 0, "2024-01-15",
         ["2024-01-15T09:47:15", "2024-01-15T10:56:00",
          "2024-01-15T16:18:16", "2024-01-15T17:27:04"]),
        (69.6, 18.9, 1, "2024-12-10",
         ["2024-12-10T08:14:00", None, None, "2024-12-10T13:00:25"]),
    ],
)  # fmt: skip
def test_against_astral(lat, lon, offset, day, told):
    sun = sun_days(lat, lon, days(day), offset)
    for name, moment in zip(NAMES, told, strict=True):
        found = getattr(sun, name)[0]
        if moment is None:
            assert np.isnat(found), name
        else:
            assert abs(found - np.datetime64(moment)) <= np.timedelta64(75, "s"), name


def test_days_belong_to_the_place():
    """At 30 S, 100 W the sun sets near midnight UTC; the Naval Observatory's minutes."""
    sun = sun_days(-30, -100, days("2024-05-04", "2024-05-05", "2024-05-06"), -7)
    told = ["2024-05-05T00:02", "2024-05-06T00:01", "2024-05-07T00:00"]
    assert (abs(sun.sunset - np.array(told, "datetime64[s]")) <= np.timedelta64(75, "s")).all()
    # Samoa is east of the date line by its clocks alone: 06:37 on the 5th, 13 hours before UTC.
    samoa = sun_days(-13.8, -172, days("2024-05-05"), 13)
    assert samoa.sunrise[0].astype("datetime64[h]") == np.datetime64("2024-05-04T17")


def test_days_without_a_sunrise():
    sun = sun_days(70, 25, days("2024-06-21", "2024-12-21", "2024-03-21"), 1)
    assert np.isnat(sun.sunrise).tolist() == [True, True, False]
    assert sun.up.tolist() == [True, False, True]


def test_the_moon():
    eclipse, full, half = moon_lit(
        np.array(["2024-04-08T18:20", "2024-01-25T17:54", "2024-05-15T11:48"], "datetime64[s]")
    )
    assert eclipse < 0.001
    assert full > 0.999
    assert half == pytest.approx(0.5, abs=0.01)
