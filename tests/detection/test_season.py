"""`g5 detect` on recordings of known times: hours, dates, and columns of when and where."""

import pandas as pd

from tests.detection.soundscapes import CALLS_S, audacity


def test_hours_choose_and_tables_say_when(job, tmp_path, night, capsys):
    """What is not asked for is skipped without being read, and found again when it is."""
    for name in ("20240620_200000", "20240620_230000", "20240621_100000", "19700101_000000"):
        (tmp_path / "A1").mkdir(exist_ok=True)
        (tmp_path / "A1" / f"{name}.wav").symlink_to(night)
    (tmp_path / "sites.csv").write_text("recorder,site,lat,lon\nA1,Marsh,48.1,11.5\n")
    (tmp_path / "calls.csv").write_text(
        "file,start_s,end_s,label\n"
        + "".join(f"20240620_230000.wav,{a},{a + 0.3},up\n" for a in CALLS_S[:5])
    )
    arguments = ["A1", "--support", "calls.csv", "--deployments", "sites.csv", "--clock", "+01:00"]
    arguments += ["--zone", "Europe/Berlin", "detection.pictures=false", "--format", "raven"]
    assert job(*arguments) == 0
    assert "A1/19700101_000000.wav: name: its clock was reset" in capsys.readouterr().err
    whole = pd.read_csv("found/ledger.csv", keep_default_na=False)
    assert whole["status"].tolist() == ["done"] * 4
    (tmp_path / "found" / "mine.selections.txt").write_text("of nobody's")
    assert job(*arguments, "detection.hours=sunset-1h..sunrise+1h") == 0
    told = capsys.readouterr().err
    assert told.count("skipped: ") == 2
    ledger = pd.read_csv("found/ledger.csv", keep_default_na=False)
    by_name = {row["file"][-19:-4]: row for row in ledger.to_dict("records")}
    assert by_name["19700101_000000"]["reason"].startswith("when it begins is not known")
    # 20:00 by the clock is 21:00 in summer, an hour before sunset is 20:17.
    assert {n: r["status"] for n, r in by_name.items() if n > "2"} == {
        "20240620_200000": "done", "20240620_230000": "done", "20240621_100000": "skipped"
    }  # fmt: skip
    # A table of the run before would tell of what is left out now; the user's own stays.
    tables = sorted(path.name[:15] for path in (tmp_path / "found").glob("*.selections.txt"))
    assert tables == ["20240620_200000", "20240620_230000", "mine.selections"]
    one = by_name["20240620_230000"]
    assert (one["start_utc"], one["start_local"]) == ("2024-06-20T22:00:00Z", "2024-06-21 00:00:00")
    assert (one["recorder"], one["site"]) == ("A1", "Marsh")
    found = pd.read_csv("found/predictions.csv", keep_default_na=False)
    first = found[found["file"].str.contains("20240620_230000")].iloc[0]
    into = pd.Timedelta(seconds=round(first["start_s"], 3))
    assert pd.Timestamp(first["start_utc"][:-1]) == pd.Timestamp("2024-06-20 22:00") + into
    assert set(found["site"]) == {"Marsh"}


def test_recordings_of_no_known_time_have_the_tables_of_before(job, tmp_path):
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    assert job("night.wav", "--support", "calls.txt", "detection.pictures=false") == 0
    assert not {"start_utc", "recorder"} & set(pd.read_csv("found/predictions.csv"))
    assert list(pd.read_csv("found/ledger.csv")) == [
        "file", "status", "reason", "events", "support", "duration_s"
    ]  # fmt: skip
    assert job("night.wav", "--support", "calls.txt", "detection.hours=late") == 1
