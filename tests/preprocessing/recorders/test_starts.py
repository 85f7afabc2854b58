"""Every source of a recording's start, zones and daylight saving, and clocks that are wrong."""

import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from g5.common.errors import UserError
from preprocessing.recorders.names import NamePattern, name_stamp
from preprocessing.recorders.starts import Clues
from preprocessing.recorders.zones import zone_name, zone_of
from tests.preprocessing.recorders.recordings import AUDIOMOTH, bext, comment, guano, wamd, wav


def start_of(*files: Path, **clues) -> dict[str, Any]:
    return Clues(**clues).reader().read(files).to_dict("records")[0]


@pytest.mark.parametrize(
    ("name", "clock", "zone", "recorder"),
    [
        ("20240531_223911.WAV", "2024-05-31 22:39:11", "", ""),
        ("20240531_223911T.WAV", "2024-05-31 22:39:11", "", ""),
        ("MARSH_20240531_223911.wav", "2024-05-31 22:39:11", "", "MARSH"),
        ("SM304472_0+1_20181106_060500.wav", "2018-11-06 06:05:00", "", "SM304472"),
        ("S4A01234_20240531_223911_000.wav", "2024-05-31 22:39:11", "", "S4A01234"),
        ("SW07_20210511_223000-0400.wav", "2021-05-11 22:30:00", "-04:00", "SW07"),
        ("20240531T223911+0200_REC.flac", "2024-05-31 22:39:11", "+02:00", ""),
        ("20240531T223911Z_REC.flac", "2024-05-31 22:39:11", "UTC", ""),
        ("S20240531T223911.123+1030_E.wav", "2024-05-31 22:39:11", "+10:30", ""),
        ("2024-05-31_22-39-11.wav", "2024-05-31 22:39:11", "", ""),
        ("Amsel-78-2024-05-31-birdnet-22:39:11.mp3", "2024-05-31 22:39:11", "", "Amsel-78"),
        ("5B0F1A3C.WAV", "2018-05-30 21:40:12", "UTC", ""),
    ],
)
def test_names_of_files(name, clock, zone, recorder):
    stamp = name_stamp(Path(name))
    assert stamp is not None
    assert (str(stamp.clock), zone_name(stamp.zone), stamp.recorder) == (clock, zone, recorder)


@pytest.mark.parametrize(
    "name", ["night.wav", "20241331_223911.wav", "12345678.WAV", "a_0001.wav", "99999999_999999"]
)  # fmt: skip
def test_names_without_a_moment(name):
    assert name_stamp(Path(name)) is None


def test_a_pattern_of_the_users():
    stamp = name_stamp(Path("plot7-310524-2239.wav"), NamePattern("%d%m%y-%H%M"))
    assert stamp is not None
    assert (str(stamp.clock), stamp.recorder) == ("2024-05-31 22:39:00", "plot7")
    for wrong in ("%Q%d", "%H%M"):
        with pytest.raises(UserError, match="--pattern"):
            NamePattern(wrong)


@pytest.mark.parametrize(
    ("text", "utc", "serial"),
    [
        ("Recorded at 17:50:00 29/07/2018 by AudioMoth 0F53B40A563A2054 at gain setting 2 while "
         "battery state was 4.1V", "2018-07-29 17:50:00", "0F53B40A563A2054"),
        ("Recorded at 10:15:00 12/03/2019 (UTC) by AudioMoth 0F53B40A563A2054 at gain setting 2 "
         "while battery state was > 4.9V", "2019-03-12 10:15:00", "0F53B40A563A2054"),
        ("Recorded at 10:15:00 12/03/2019 (UTC-7) by AudioMoth 0F53B40A563A2054 at medium gain",
         "2019-03-12 17:15:00", "0F53B40A563A2054"),
        ("Recorded at 00:15:00 12/03/2019 (UTC+5:30) during deployment 0123456789ABCDEF at medium "
         "gain while battery was less than 2.5V", "2019-03-11 18:45:00", "0123456789ABCDEF"),
        ("Recorded at 10:15:00.250 12/03/2022 (UTC) by HydroMoth 0F53B40A563A2054 at low gain",
         "2022-03-12 10:15:00.250", "0F53B40A563A2054"),
        (AUDIOMOTH, "2020-05-27 19:17:30", "2453AC045F4B5A51"),
    ],
)  # fmt: skip
def test_every_wording_of_audiomoths(tmp_path, text, utc, serial):
    row = start_of(wav(tmp_path / "a.wav", before=comment(text)))
    assert (row["start_utc"], row["serial"]) == (pd.Timestamp(utc), serial)
    assert row["source"] == "AudioMoth"


def test_chunks_wherever_they_stand(tmp_path):
    one = guano(Timestamp="2024-05-31T22:39:11+02:00", Serial="X7", Loc_Position="48.1 -11.5")
    row = start_of(wav(tmp_path / "a.wav", after=one, seconds=0.5))
    assert row["start_utc"] == pd.Timestamp("2024-05-31 20:39:11")
    assert row["start_local"] == pd.Timestamp("2024-05-31 22:39:11")
    assert (row["lat"], row["lon"], row["duration_s"]) == (48.1, -11.5, 0.5)
    two = wamd(serial="S4U1", time="2014-04-02 22:59:14-05:00", place="WGS84,47.5,N,122.25,W")
    row = start_of(wav(tmp_path / "b.wav", before=two))
    assert row["start_utc"] == pd.Timestamp("2014-04-03 03:59:14")
    assert (row["lat"], row["lon"], row["serial"]) == (47.5, -122.25, "S4U1")
    row = start_of(wav(tmp_path / "c.wav", before=bext("2024-05-31", "22:39:11")))
    assert pd.isna(row["start_utc"])
    assert (row["start_local"], row["source"]) == (pd.Timestamp("2024-05-31 22:39:11"), "bext")


def test_the_order_of_sources(tmp_path):
    """A table, GUANO, WAMD, the comment, bext, the name, and the disk's word only if asked."""
    parts = [
        guano(Timestamp="2024-01-02T00:00:00Z"), wamd(time="2024-01-03 00:00:00+00:00"),
        comment("Recorded at 00:00:00 04/01/2024 (UTC) by AudioMoth 2453AC045F4B5A51"),
        bext("2024-01-05", "00:00:00"),
    ]  # fmt: skip
    for first in range(4):
        file = wav(tmp_path / "20240106_000000.wav", before=b"".join(parts[first:]))
        row = start_of(file, clock="UTC")
        assert row["start_utc"] == pd.Timestamp(2024, 1, 2 + first)
        assert "name says 2024-01-06" in row["note"]
    table = tmp_path / "times.csv"
    table.write_text("file,start\n20240106_000000.wav,2024-01-01 02:00:00+02:00\n")
    assert start_of(file, times=table)["start_utc"] == pd.Timestamp("2024-01-01")
    file = wav(tmp_path / "20240106_000000.wav")
    assert start_of(file, clock="UTC", mtime=True)["start_utc"] == pd.Timestamp("2024-01-06")
    bare = wav(tmp_path / "bare.wav")
    assert pd.isna(start_of(bare)["start_local"])
    assert start_of(bare, mtime=True)["source"] == "modified"


def test_half_written_metadata_gives_way_to_the_next(tmp_path):
    for number, broken in enumerate((
        guano(Timestamp="2024-05-31T22"), guano(Timestamp="2024-13-31T22:00:00"),
        guano(Timestamp="2024-05-31T22:00:00+99:00"), guano(Timestamp="9999-12-31T23:00:00-14:00"),
        guano(Timestamp="0001-01-01T00:00:00+14:00"),
        comment("Recorded at 22:39:1"), comment("Recorded at 22:39:11 31/02/2024 (UTC)"),
        wamd(time="2024"), b"wamd\x40\0\0\0\x05\0\xff\xff\xff\xff" + bytes(58), bext("\0" * 10, ""),
        b"guan\x02\0\0\0\xff\xfe", b"LIST\x06\0\0\0INFOIC",
    )):  # fmt: skip
        file = wav(tmp_path / f"{number}" / "20240531_223911.wav", before=broken)
        assert start_of(file)["start_local"] == pd.Timestamp("2024-05-31 22:39:11"), number
    text = tmp_path / "20240531_223912.wav"
    text.write_text("no sound")
    assert start_of(text)["start_local"] == pd.Timestamp("2024-05-31 22:39:12")
    assert pd.isna(start_of(text)["duration_s"])


def test_days_of_daylight_saving(tmp_path):
    """A clock that follows it is right on both sides; 02:30 comes never, and in October twice."""
    berlin = {"zone": "Europe/Berlin"}
    for name, utc in (
        ("20240331_013000", "2024-03-31 00:30"), ("20240331_033000", "2024-03-31 01:30"),
        ("20241027_013000", "2024-10-26 23:30"), ("20241027_033000", "2024-10-27 02:30"),
    ):  # fmt: skip
        row = start_of(Path(f"{name}.wav"), **berlin)
        assert (row["start_utc"], row["zone"]) == (pd.Timestamp(utc), "Europe/Berlin")
    for name, often in (("20240331_023000", "never"), ("20241027_023000", "twice")):
        row = start_of(Path(f"{name}.wav"), **berlin)
        assert pd.isna(row["start_local"])
        assert f"comes {often} in Europe/Berlin" in row["note"]
        fixed = start_of(Path(f"{name}.wav"), **berlin, clock="+01:00")
        assert fixed["start_utc"].hour == 1
    # A clock on UTC: days and hours are those of the site.
    row = start_of(Path("20240331_010000.wav"), clock="UTC", **berlin)
    assert row["start_local"] == pd.Timestamp("2024-03-31 03:00")


def test_clocks_that_cannot_be_believed(tmp_path):
    row = start_of(Path("19700101_000320.WAV"))
    assert pd.isna(row["start_local"])
    assert "its clock was reset (1970-01-01 00:03:20)" in row["note"]
    row = start_of(Path("20990101_000000.WAV"))
    assert pd.isna(row["start_local"])
    assert "in the future" in row["note"]


def test_names_of_recorders(tmp_path):
    by_folder, by_name = Path("cards/A3/20240531_223911.wav"), Path("cards/SM1_20240531_223911.wav")
    table = Clues().reader().read([by_folder, by_name])
    assert table["recorder"].tolist() == ["A3", "SM1"]
    twins = [
        wav(tmp_path / card / "P1_20240531_223911.wav", before=guano(Serial=serial))
        for card, serial in (("one", "X1"), ("two", "X2"))
    ]
    assert Clues().reader().read(twins)["recorder"].tolist() == ["P1 (X1)", "P1 (X2)"]


def test_zones():
    names = ["Europe/Berlin", "UTC", "z", "+02:00", "UTC+5:30", "-0700", "GMT-3"]
    told = [zone_name(zone_of(name)) for name in names]
    assert told == ["Europe/Berlin", "UTC", "UTC", "+02:00", "+05:30", "-07:00", "-03:00"]
    assert [zone_name(zone_of(name)) for name in told] == told
    with pytest.raises(UserError, match="did you mean Europe/Berlin"):
        zone_of("Europe/Berlinn")
    with pytest.raises(UserError, match="so many hours"):
        zone_of("+19:00")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,when\na.wav,1\n", "has file and start"),
        ("file,start\na.wav,soon\n", "row 2: start is 'soon'"),
        ("file,start\na.wav,2024-01-01 10:00 +99:00\n", "row 2: start is"),
        ("file,start\na.wav,9999-12-31 23:59:59-14:00\n", "row 2: start is"),
        ("file,start\na.wav,2024-01-01\na.wav,2024-01-02\n", "row 3: a.wav is there twice"),
    ],
)
def test_tables_of_times_that_are_none(tmp_path, text, said):
    table = tmp_path / "times.csv"
    table.write_text(text)
    with pytest.raises(UserError, match=re.escape(said)):
        Clues(times=table).reader()


def test_a_table_of_times_of_other_recordings_is_told(tmp_path):
    file, table = wav(tmp_path / "20240531_223911.wav"), tmp_path / "times.csv"
    table.write_text("file,start\nother.wav,31.05.2024 10:00\n")
    with pytest.raises(UserError, match=r"times.csv: names none of these recordings"):
        start_of(file, times=table)
    table.write_text("file,start\n20240531_223911.wav,31.05.2024 10:00\n")
    assert start_of(file, times=table)["start_local"] == pd.Timestamp("2024-05-31 10:00")


def test_a_pipe_is_not_waited_for(tmp_path):
    for name in ("AM_20240531_223911.wav", "AM_20240531_224911.mp3"):
        os.mkfifo(tmp_path / name)
        assert start_of(tmp_path / name)["recorder"] == "AM"
