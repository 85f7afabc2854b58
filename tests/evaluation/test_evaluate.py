"""`g5 evaluate`: what is printed, written and warned of."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from g5.common.errors import UserError
from g5.evaluation.events.ground_truth import read_ledger
from tests.conftest import ROOT, run_g5
from tests.evaluation.test_events_scoring import CALLS, SHOTS, write_predictions, write_truth


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch) -> Path:
    for subset, name in (("HB", "a"), ("HB", "b"), ("PB", "c")):
        write_truth(tmp_path / "truth" / subset, name, SHOTS + CALLS)
    rows = [("a.wav", 10, 11), ("a.wav", 50, 51), ("c.wav", 10.1, 11), ("c.wav", 20, 21.2)]
    write_predictions(tmp_path / "predictions.csv", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_official_scores_for_scripts(workplace, capsys):
    assert run_g5(["evaluate", "predictions.csv", "truth", "--mode", "official", "--json",
                   "out/scores.json"]) == 0  # fmt: skip
    told = capsys.readouterr()
    assert "mode official" in told.out
    assert told.err == (
        "warning: predictions.csv: 2 of 3 recordings of the ground truth have predictions; all "
        "calls of b count as missed\n"
    )
    plain = json.loads(Path("out/scores.json").read_text())
    assert set(plain) == {"mode", "overall", "official", "subsets", "files"}
    assert plain["files"]["b"] == {"tp": 0, "fp": 0, "fn": 7}
    f = 2 / (1 / (1 / 5.5) + 1)
    assert plain["overall"]["fmeasure"] == pytest.approx(f, abs=1e-15)
    assert plain["official"]["overall"]["fmeasure"] == round(100 * f, 3)


def test_fair_is_the_default_and_both_are_shown(workplace, capsys):
    assert run_g5(["evaluate", "predictions.csv", "truth", "--json", "s.json"]) == 0
    out = capsys.readouterr().out
    assert "mode fair" in out
    fair, official = (out.index(f"\n  {mode} ") for mode in ("fair", "official"))
    assert fair < official
    assert json.loads(Path("s.json").read_text())["files"]["b"]["fn"] == 2


@pytest.mark.usefixtures("drawn_figures")
def test_the_report_is_one_page(workplace, capsys):
    calls = pd.read_csv("predictions.csv").assign(score=[0.9, 0.2, 0.8, 0.7], label="<b>")
    names = {"Audiofilename": "file", "Starttime": "start_s", "Endtime": "end_s"}
    calls.rename(columns=names).to_parquet("p.parquet")
    for subset, name in (("HB", "a"), ("HB", "b"), ("PB", "c")):
        soundfile.write(f"truth/{subset}/{name}.wav", np.zeros(1000), 10)
    assert run_g5(["evaluate", "p.parquet", "truth", "--report", "out"]) == 0
    content = Path("out/index.html").read_text()
    for words in ("p.parquet against truth", "Both modes", "oracle gap", "recordings", "PSDS"):
        assert words in content
    assert Path("out/errors.png").stat().st_size > 1000
    assert "PSDS         0." in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "a.wav,10,10\n", "a.wav,10,11\na.wav,10,11\n"])
def test_odd_predictions_warn_and_exit_with_0(workplace, capsys, text: str):
    Path("p.csv").write_text("Audiofilename,Starttime,Endtime\n" + text)
    assert run_g5(["evaluate", "p.csv", "truth", "--mode", "official", "--json", "s.json"]) == 0
    assert capsys.readouterr().err.startswith("warning: p.csv")
    assert Path("s.json").exists()


def test_what_cannot_be_read_is_one_line(workplace, capsys):
    for arguments, words in (
        (["absent.csv", "truth"], "absent.csv: there is no such file"),
        (["truth", "truth"], "truth: is a folder"),
        (["predictions.csv", "nowhere"], "nowhere: there is no such file"),
    ):
        assert run_g5(["evaluate", *arguments]) == 1
        told = capsys.readouterr()
        assert told.err.startswith("error: ")
        assert words in told.err
        assert told.err.count("\n") == 1


def test_it_runs_where_the_output_knows_no_unicode(workplace):
    command = [sys.executable, str(ROOT / "main.py"), "evaluate", "predictions.csv", "truth"]
    done = subprocess.run(
        command, capture_output=True, env={"PYTHONIOENCODING": "ascii", "PATH": ""}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"95 % of F" in done.stdout


def test_what_matches_nothing_is_told_before_the_table(workplace, capsys):
    """A class that only one side has, with the name that was meant."""
    for name in ("a", "b"):
        rows = "".join(f"{name}.wav,{t},{t + 1},brk\n" for t in range(8))
        text = f"file,start_s,end_s,label\n{rows}"
        (workplace / "truth2").mkdir(exist_ok=True)
        (workplace / "truth2" / f"{name}.csv").write_text(text)
    Path("p.csv").write_text("file,start_s,end_s,label\na.wav,6,7,Brk\na.wav,7,8,owl\n")
    assert run_g5(["evaluate", "p.csv", "truth2"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "warning: p.csv: 1 of 2 recordings of the ground truth have predictions; all calls of b "
        "count as missed",
        "warning: p.csv, row 2: the ground truth has no class 'Brk': all are false positives; did "
        "you mean 'brk'?",
        "warning: p.csv, row 3: the ground truth has no class 'owl': all are false positives",
        "warning: p.csv: predicts nothing of brk: all their calls are missed",
    ]


def test_a_ledger_is_read_as_text_and_what_is_none_is_one_line(tmp_path):
    path = tmp_path / "ledger.csv"
    path.write_text("file,status,duration_s\n'=a.wav,done,007\n")
    (row,) = read_ledger(tmp_path).to_dict("records")
    assert row == {"file": "=a.wav", "status": "done", "duration_s": "007"}
    for content in (b"", b"file,status\na.wav,done\n", b"\xff\xfe\x00\x01", b'a\n"\n'):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"ledger\.csv: is no ledger; give the folder"):
            read_ledger(tmp_path)
