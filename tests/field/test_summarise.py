"""`g5 summarise`: effort to the minute, zeros, histories, and what answers say of the calls."""

import re
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from g5.config.settings import load_transfer
from g5.detection.review.session import ReviewSession
from g5.detection.review.table import FoundEvents
from g5.field.season import read_season
from g5.field.summarise import file_names
from preprocessing.recorders.starts import Clues
from tests.conftest import run_g5
from tests.field.seasons import ledger_row, names, write_found

HOUR, MAY = timedelta(hours=1), datetime(2024, 5, 1)


def summarise(folder: Path, *arguments: str) -> Path:
    out = folder.parent / "summary"
    assert run_g5(["summarise", str(folder), "-o", str(out), *arguments]) == 0
    return out


def csv(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / f"{name}.csv")


def total(table: pd.DataFrame, name: str) -> float:
    return float(table[name].to_numpy(float).sum())


@pytest.fixture
def found(tmp_path) -> Path:
    """Three recorders for four days, a minute an hour: one stops, one is reset, one is skipped."""
    a = names("A1", MAY, MAY + 4 * timedelta(days=1), HOUR)
    b = names("B2", MAY, MAY + 2 * timedelta(days=1), HOUR)
    c = [f"/cards/C3/C3_19700101_{hour:02d}0000.wav" for hour in range(4)]
    ledger = [ledger_row(file) for file in [*a, *b, *c]]
    ledger[0]["status"] = "skipped"
    calls = [(a[5], 0.0), (a[5], 30.0), (a[29], 1.0), (c[0], 3.0)]
    (tmp_path / "sites.csv").write_text(
        "recorder,site,lat,lon,timezone\nA1,Marsh,48.1,11.5,Europe/Berlin\nB2,Hill,48.2,11.6,\n"
    )
    return write_found(tmp_path / "found", ledger, calls)


def test_calls_beside_effort(found, capsys):
    out = summarise(found, "--deployments", str(found.parent / "sites.csv"), "--clock", "UTC")
    recordings = csv(out, "recordings").set_index("file").sort_index()
    assert recordings["sunrise"].iloc[0].startswith("2024-05-01 05:5")
    assert recordings["moon_lit"].between(0, 1).sum() == 144
    recorders = csv(out, "recorders").set_index("recorder")
    assert recorders["recordings"].to_dict() == {"A1": 96, "B2": 48, "C3": 4}
    assert recorders["recorded_min"].to_dict() == {"A1": 96, "B2": 48, "C3": 4}
    assert recorders["analysed_min"].to_dict() == {"A1": 95, "B2": 48, "C3": 4}
    assert recorders["undated_min"].to_dict() == {"A1": 0, "B2": 0, "C3": 4}
    assert recorders["calls"].to_dict() == {"A1": 3, "B2": 0, "C3": 1}
    assert recorders.loc["A1", "first_call"] == "2024-05-01 07:00:00"  # 05:00 UTC in Berlin
    assert recorders.loc["A1", "calls_per_hour"] == pytest.approx(3 / 95 * 60, abs=1e-3)
    assert recorders["site"].to_dict() == {"A1": "Marsh", "B2": "Hill", "C3": "C3"}
    hours = csv(out, "hours")
    one = hours[(hours["recorder"] == "A1") & (hours["date"] == "2024-05-01")].set_index("hour")
    assert one["calls"].to_dict() == {hour: 2 if hour == 7 else 0 for hour in range(2, 24)}
    assert one.loc[2, ["recorded_min", "analysed_min"]].tolist() == [1, 0]
    assert np.isnan(one.loc[2, "calls_per_hour"])
    for name in ("hours", "days", "weeks", "hours_of_day"):
        table = csv(out, name)
        assert total(table, "recorded_min") == 144, name
        assert total(table, "analysed_min") == 143, name
        assert total(table, "calls") == 3, name
    assert len(csv(out, "recordings")) == 148
    printed = capsys.readouterr().out
    assert "without a start: 4 of 148 recordings, 4 min (name: its clock was reset" in printed
    assert "sites.csv does not cover" not in printed  # what has no start cannot be covered
    page = (out / "summary.html").read_text()
    assert "data:image/png" in page
    assert not re.search(r"(src|href)=\"http", page)
    assert total(pd.read_parquet(out / "days.parquet"), "calls") == 3


def test_histories_are_site_by_occasion(found):
    """As docs/season.md has it: 1, 0, and NA where nothing was analysed."""
    out = summarise(found, "--deployments", str(found.parent / "sites.csv"), "--clock", "UTC")
    lines = (out / "history_owl.csv").read_text().splitlines()
    assert lines == [
        "site,lat,lon,d2024_05_01,d2024_05_02,d2024_05_03,d2024_05_04,d2024_05_05",
        "Hill,48.2,11.6,0,0,NA,NA,NA", "Marsh,48.1,11.5,1,1,0,0,0",
    ]  # fmt: skip
    assert (out / "counts_owl.csv").read_text().splitlines()[2] == "Marsh,48.1,11.5,2,1,0,0,0"
    effort = csv(out, "effort").set_index("site")
    assert effort.loc["Hill", "d2024_05_03"] == 0
    assert effort.iloc[:, 2:].to_numpy().sum() == 143
    out = summarise(found, "--deployments", str(found.parent / "sites.csv"), "--occasion", "3")
    assert list(csv(out, "history_owl").columns[3:]) == ["d2024_05_01", "d2024_05_04"]


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_r_reads_histories_without_edits(found):
    """Base R alone, as docs/season.md has it: numbers are numbers, NA is NA."""
    out = summarise(found, "--deployments", str(found.parent / "sites.csv"), "--clock", "UTC")
    script = out.parent / "read.R"
    script.write_text(
        'h <- read.csv("history_owl.csv"); e <- read.csv("effort.csv")\n'
        "y <- as.matrix(h[, -(1:3)])\n"
        "stopifnot(is.numeric(y), all(y %in% c(0, 1, NA)), identical(names(h), names(e)))\n"
        "stopifnot(identical(h$site, e$site), is.numeric(h$lat))\n"
        "cat(nrow(y), ncol(y), sum(y, na.rm = TRUE), sum(is.na(y)))\n"
    )
    told = subprocess.run(
        ["Rscript", "--vanilla", str(script)], cwd=out, check=True, capture_output=True, text=True
    )
    cells = csv(out, "history_owl").iloc[:, 3:].to_numpy(float)
    assert told.stdout.split() == [
        *map(str, cells.shape), f"{np.nansum(cells):.0f}", f"{np.isnan(cells).sum()}",
    ]  # fmt: skip


def test_days_of_daylight_saving_are_whole(tmp_path):
    """Recordings without a gap: 23 hours in March, 25 in October, of an hour and of a day each."""
    for first, minutes in ((datetime(2024, 3, 30, 23), 1380), (datetime(2024, 10, 26, 22), 1500)):
        last = first + timedelta(hours=minutes // 60)
        files = names("A", first, last, HOUR)
        found = write_found(tmp_path / "found", [ledger_row(f, seconds=3600) for f in files], [])
        out = summarise(found, "--zone", "Europe/Berlin", "--clock", "UTC")
        (day,) = csv(out, "days").to_dict("records")
        assert (day["recorded_min"], day["calls"]) == (minutes, 0)
        one = ledger_row(files[0], seconds=60.0 * minutes)
        whole = write_found(tmp_path / "whole", [one], [(files[0], 4 * 3600.0)])
        out = summarise(whole, "--zone", "Europe/Berlin", "--clock", "UTC")
        (day,) = csv(out, "days").to_dict("records")
        assert (day["recorded_min"], day["calls"]) == (minutes, 1)
        table = csv(out, "hours")
        hours = dict(zip(table["hour"], table["recorded_min"], strict=True))
        assert hours.get(2, 0) == (0 if minutes < 1440 else 120)
        assert set(hours.values()) <= {60, 120}
        called = table.loc[table["calls"] > 0, "hour"].tolist()
        assert called == [5 if minutes < 1440 else 3]


def test_zones_of_half_hours(tmp_path):
    files = names("A", MAY, MAY + HOUR, HOUR)
    found = write_found(tmp_path / "found", [ledger_row(files[0], seconds=7200)], [(files[0], 0.0)])
    out = summarise(found, "--zone", "+05:45", "--clock", "UTC")
    assert csv(out, "hours")["recorded_min"].tolist() == [15, 60, 45]


def test_what_detect_knew_is_not_looked_for_again(tmp_path):
    """Start, recorder and site are the ledger's, where the recording is gone."""
    row = ledger_row("/gone/x.wav", start_utc="2024-05-01T20:00:00Z",
                     start_local="2024-05-01 22:00:00", recorder="A1", site="Marsh")  # fmt: skip
    found = write_found(tmp_path / "found", [row], [("/gone/x.wav", 5.0)])
    recorders = csv(summarise(found), "recorders")
    assert recorders.loc[0, ["site", "recorder"]].tolist() == ["Marsh", "A1"]
    assert recorders.loc[0, "first_call"] == "2024-05-01 22:00:05"
    (tmp_path / "sites.csv").write_text("recorder,site,lat,lon\nA1,Hill,1,2\n")
    moved = summarise(found, "--deployments", str(tmp_path / "sites.csv"), "--zone", "UTC")
    assert csv(moved, "recorders").loc[0, "site"] == "Hill"
    assert csv(moved, "recorders").loc[0, "first_call"] == "2024-05-01 20:00:05"


def test_what_detect_could_not_date_has_no_hour(tmp_path, capsys):
    """02:30 of the night without one: without the zone it would be an hour like any other."""
    rows = [
        ledger_row("/c/A_20240330_023000.wav", start_utc="2024-03-30T01:30:00Z",
                   start_local="2024-03-30 02:30:00", recorder="A"),
        ledger_row("/c/A_20240331_023000.wav", start_utc="", start_local="", recorder="A"),
    ]  # fmt: skip
    found = write_found(tmp_path / "found", rows, [(row["file"], 5.0) for row in rows])
    out = summarise(found)
    assert csv(out, "hours")["recorded_min"].tolist() == [1]
    assert csv(out, "recorders")["undated"].tolist() == [1]
    assert "without a start: 1 of 2 recordings, 1 min (g5 detect knew no start)" in (
        capsys.readouterr().out
    )


def test_pictures_of_others_stay_and_those_of_an_earlier_summary_go(tmp_path):
    files = names("A", MAY, MAY + HOUR, HOUR)
    found = write_found(tmp_path / "found", [ledger_row(file) for file in files], [(files[0], 5.0)])
    pictures = tmp_path / "summary" / "pictures"
    pictures.mkdir(parents=True)
    for name in ("holiday.png", "hours_wolf.png"):
        (pictures / name).touch()
    summarise(found, "--clock", "UTC")
    assert {"holiday.png", "hours_owl.png"} <= {path.name for path in pictures.iterdir()}
    assert not (pictures / "hours_wolf.png").exists()


def test_answers_correct_the_calls(tmp_path, capsys):
    files = names("A", MAY, MAY + 5 * timedelta(days=1), HOUR)
    calls = [(file, 5.0) for file in files[:60]]
    found = write_found(tmp_path / "found", [ledger_row(file) for file in files], calls)
    review = ReviewSession(FoundEvents.read(found), load_transfer(reads=()).review)
    for number in range(40):
        kind = "label" if number % 4 else "not a call"
        label = "owl" if kind == "label" else ""
        (row, *_) = review.next("t", "sample", "owl")
        said = review.answer("t", row, kind, label, id=str(number), seconds=1, by="sample")
        assert not said
    one = review.precision("owl")
    assert one is not None
    recorders = csv(summarise(found, "--clock", "UTC"), "recorders")
    for column, share in (
        ("true_calls", one.share),
        ("true_low", one.low),
        ("true_high", one.high),
    ):
        assert recorders.loc[0, column] == pytest.approx(60 * share, abs=1e-3)
    assert 0.6 < one.share < 0.9
    assert "of which" in capsys.readouterr().out


def test_what_is_wrong_is_one_line(found, tmp_path, capsys):
    bare = write_found(tmp_path / "bare", [ledger_row("/a/night.wav")], [("/a/night.wav", 1.0)])
    odd = write_found(tmp_path / "odd", [ledger_row("/a/20240501_000000.wav")], [("/b.wav", 1.0)])
    for folder, said in (
        (tmp_path, "has no predictions.csv"), (bare, "no recording has a start"),
        (odd, "has events of /b.wav, of which ledger.csv knows nothing"),
    ):  # fmt: skip
        assert run_g5(["summarise", str(folder), "-o", str(tmp_path / "s")]) == 1
        assert f"error: {folder}" in (told := capsys.readouterr().err)
        assert said in told
    assert run_g5(["summarise", str(found), "-o", str(found)]) == 1


def test_names_of_files_are_told_apart():
    told = file_names(["Strix aluco", "strix/aluco", "=1+1", "鳥", "///"])
    assert list(told.values()) == ["Strix_aluco", "strix_aluco2", "1_1", "鳥", "label"]


def test_many_events_take_seconds(tmp_path):
    """A tenth of a season of 20 recorders and 60 days, without pictures' time in the way."""
    files = [
        f for r in range(20) for f in names(f"R{r:02d}", MAY, MAY + timedelta(days=6), HOUR / 6)
    ]
    rng = np.random.default_rng(0)
    events = pd.DataFrame({
        "file": np.array(files, object)[np.sort(rng.integers(len(files), size=50_000))],
        "start_s": 60 * rng.random(50_000), "label": "owl",
    })  # fmt: skip
    found = write_found(tmp_path / "found", [ledger_row(file) for file in files], events)
    season = read_season(found, Clues(clock="UTC"))
    assert total(season.effort(), "recorded_min") == pytest.approx(len(files))
    assert total(season.counts(), "calls") == 50_000
