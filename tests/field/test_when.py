"""`g5 data when`: what it prints of a season with gaps, overlaps and clocks that jump."""

import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import run_g5
from tests.preprocessing.recorders.recordings import comment, guano, wav


def nightly(folder: Path, days: Iterable[int], *, hours=(20, 21, 22, 23), prefix: str = "") -> None:
    for day in days:
        for hour in hours:
            wav(folder / f"{prefix}202405{day:02d}_{hour:02d}0000.wav", seconds=1)


def test_a_season(tmp_path, capsys):
    """A recorder that is switched on at night has no gap each day; a missing week is one."""
    nightly(tmp_path / "A1", range(1, 29))
    nightly(tmp_path / "B2", [*range(1, 10), *range(17, 29)])
    wav(tmp_path / "B2" / "19700101_000000.wav")
    wav(tmp_path / "C3" / "C3_20240501_000000.wav", seconds=3)
    wav(tmp_path / "C3" / "C3_20240501_000001.wav", seconds=3)
    (tmp_path / "sites.csv").write_text("recorder,site\nA1,Marsh\nC3,Hill\n")
    out = tmp_path / "times.csv"
    arguments = ["data", "when", str(tmp_path), "--deployments", str(tmp_path / "sites.csv")]
    assert run_g5([*arguments, "--zone", "Europe/Berlin", "-o", str(out)]) == 1
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    one, two, three = (next(s for s in lines if s.startswith(name)) for name in ("A1", "B2", "C3"))
    assert "A1 at Marsh: 112 recordings, 112 s, 2024-05-01 20:00 to 2024-05-28 23:00" in one
    assert "Europe/Berlin; name 112" in one
    assert "85 recordings" in two
    assert "C3 at Hill" in three
    assert printed.count("gap") == 1
    assert "1 gap: 189 h after 2024-05-09 23:00:00 (20240509_230000.wav)" in printed
    assert "1 overlap: 2 s after 2024-05-01 00:00:00" in printed
    assert "its clock was reset (1970-01-01 00:00:00)" in printed
    assert "sites.csv: has no B2" in printed
    assert "198 of 199 recordings have a start" in printed
    table = pd.read_csv(out)
    assert len(table) == 199
    # What is written is a table that --times takes.
    assert run_g5([*arguments, "--times", str(out)]) == 1
    assert "table 112" in capsys.readouterr().out


def test_a_clock_that_jumps_back(tmp_path, capsys):
    for number, hour in enumerate((10, 11, 9, 12)):
        stamp = guano(Timestamp=f"2024-05-01T{hour:02d}:00:00Z")
        wav(tmp_path / "A1" / f"rec{number}.wav", after=stamp, seconds=1)
    assert run_g5(["data", "when", str(tmp_path)]) == 0
    assert "1 clock jump: 2 h after 2024-05-01 11:00:00 (rec1.wav)" in capsys.readouterr().out


def test_what_is_wrong_is_one_line(tmp_path, capsys):
    assert run_g5(["data", "when", str(tmp_path / "none")]) == 1
    assert run_g5(["data", "when", str(tmp_path)]) == 1
    wav(tmp_path / "a.wav")
    assert run_g5(["data", "when", str(tmp_path), "--zone", "Berlin"]) == 1
    told = capsys.readouterr().err
    assert "no such recording" in told
    assert "holds no recordings" in told
    assert "error: 'Berlin' is no time zone; did you mean Europe/Berlin?" in told


def test_headers_are_read_fast(tmp_path):
    """2,000 in two seconds of a core are 100,000 in two minutes; four times that are let pass."""
    text = comment("Recorded at 19:17:30 27/05/2020 (UTC) by AudioMoth 2453AC045F4B5A51 at gain")
    for number in range(500):
        wav(tmp_path / f"{number:04d}.wav", before=text)
    begin = time.process_time()
    assert run_g5(["data", "when", str(tmp_path)]) == 0
    assert time.process_time() - begin < 2.4


def test_two_recorders_of_one_name_are_told(tmp_path, capsys):
    for card in ("card1", "card2"):
        wav(tmp_path / card / "A1_20240501_200000.wav", seconds=3)
    assert run_g5(["data", "when", str(tmp_path)]) == 0
    assert "perhaps two recorders of one name: " in capsys.readouterr().out


def test_the_table_tells_of_the_sun_and_the_moon(tmp_path, capsys):
    wav(tmp_path / "A1" / "20240620_223000.wav", seconds=1)
    wav(tmp_path / "A1" / "20241221_120000.wav", seconds=1)
    wav(tmp_path / "B2" / "20240620_223000.wav", seconds=1)  # its place is not known
    (tmp_path / "sites.csv").write_text("recorder,lat,lon,site\nA1,52.52,13.4,Berlin\n")
    out = tmp_path / "times.csv"
    where = ["--deployments", str(tmp_path / "sites.csv"), "--zone", "Europe/Berlin"]
    assert run_g5(["data", "when", str(tmp_path), *where, "-o", str(out)]) == 0
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    # By the almanac: 04:43 and 21:33 in June, a moon two days before full; 08:15 and 15:54.
    june, december, unknown = table.to_dict("records")
    assert june["sunrise"][:16] in ("2024-06-20T04:42", "2024-06-20T04:43", "2024-06-20 04:43")
    assert june["sunset"][11:15] == "21:3"
    assert june["dawn"] < june["sunrise"] < june["sunset"] < june["dusk"]
    assert float(june["moon_lit"]) == pytest.approx(0.97, abs=0.03)
    assert december["sunrise"][11:16] in ("08:14", "08:15")
    assert {unknown[name] for name in ("dawn", "sunrise", "moon_lit")} == {""}
