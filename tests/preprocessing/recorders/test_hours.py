"""Hours by the clock and by the sun, and dates: which recordings are of them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from g5.common.errors import UserError
from preprocessing.recorders.hours import Choice
from preprocessing.recorders.starts import Clues


def kept(
    tmp_path, hours=None, dates=None, *, day="20240621", sites=True, **clues: Any
) -> list[int]:
    """Of recordings on every hour of a day at 48.1 N, 11.5 E, those that are left."""
    (tmp_path / "sites.csv").write_text("recorder,site,lat,lon\nA1,Marsh,48.1,11.5\n")
    files = [Path(f"A1/{day}_{hour:02d}0000.wav") for hour in range(24)]
    deployments = tmp_path / "sites.csv" if sites else None
    said: dict[str, Any] = {"zone": "Europe/Berlin", **clues}
    known = dict.fromkeys(map(str, files), 60.0)
    table = Clues(deployments=deployments, **said).reader().read(files, known)
    left_out = Choice(hours, dates).why_not(table)
    return [hour for hour, file in enumerate(files) if str(file) not in left_out]


def test_hours_of_the_clock(tmp_path):
    assert kept(tmp_path, "05:00..08:00") == [5, 6, 7]
    assert kept(tmp_path, "22:00..02:30") == [0, 1, 2, 22, 23]
    assert kept(tmp_path, "22:00+1h..02:00-90m") == [0, 23]
    assert kept(tmp_path, "00:00..24:00") == list(range(24))


def test_hours_of_the_sun(tmp_path):
    """At midsummer it sets at 21:17 and rises at 05:14; in winter at 16:22 and 08:01."""
    assert kept(tmp_path, "sunset..sunrise") == [0, 1, 2, 3, 4, 5, 22, 23]
    assert kept(tmp_path, "sunset-1h..sunrise+1h") == [0, 1, 2, 3, 4, 5, 6, 21, 22, 23]
    assert kept(tmp_path, "dawn..sunrise+30m") == [5]
    assert kept(tmp_path, "sunrise..sunset", day="20241221") == [9, 10, 11, 12, 13, 14, 15, 16]
    # The same moments by a clock on UTC: sunset at 19:17.
    assert kept(tmp_path, "sunset..sunrise", clock="UTC") == [0, 1, 2, 3, 20, 21, 22, 23]


def test_what_begins_before_and_reaches_into_the_hours():
    file = Path("A1_20240621_040000.wav")
    table = Clues(clock="UTC").reader().read([file], {str(file): 7200.0})
    assert not Choice("05:30..06:30", None).why_not(table)
    assert Choice("06:30..07:30", None).why_not(table)


def test_dates(tmp_path):
    assert len(kept(tmp_path, None, "2024-06-21")) == 24
    assert len(kept(tmp_path, None, "2024-06-01..")) == 24
    assert kept(tmp_path, None, "..2024-06-20") == []
    # By the site's days: 22:00 and 23:00 UTC are of the next.
    assert kept(tmp_path, None, "2024-06-22", clock="UTC") == [22, 23]


def test_what_is_not_known_is_left_out_and_told(tmp_path):
    table = Clues().reader().read([Path("night.wav"), Path("A_20240621_230000.wav")])
    told = Choice("sunset..sunrise", None).why_not(table)
    assert told["night.wav"].startswith("when it begins is not known")
    assert "asks for both: --deployments, --zone" in told["A_20240621_230000.wav"]
    assert Choice("22:00..02:00", None).why_not(table).keys() == {"night.wav"}
    assert Choice(None, None).why_not(table) == {}


def test_where_the_sun_does_not_set(tmp_path):
    """Nobody can say when the night is: all is kept."""
    (tmp_path / "sites.csv").write_text("recorder,lat,lon\nA1,70,25\n")
    reader = Clues(zone="+02:00", deployments=tmp_path / "sites.csv").reader()
    table = reader.read([Path("A1/20240621_120000.wav")])
    assert Choice("sunset..sunrise", None).why_not(table) == {}
    assert isinstance(table, pd.DataFrame)


@pytest.mark.parametrize(
    ("hours", "dates"),
    [("sunset", None), ("sunset..moonrise", None), ("25:00..03:00", None), ("22:00-23:00", None),
     (None, "2024-06-31"), (None, "June"), (None, "2024-06-30..2024-06-01"), (None, "a..b..c")],
)  # fmt: skip
def test_what_cannot_be_read(hours, dates):
    with pytest.raises(UserError, match=r"detection\.(hours|dates)="):
        Choice(hours, dates)
