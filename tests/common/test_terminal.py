import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ROW = "Übung α.wav,0.5,1.0,Tür\n"


def g5(place: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments], cwd=place, encoding="utf-8",
        capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT), **env}, check=False,
    )  # fmt: skip


def test_a_locale_of_ascii_alone_finds_and_writes_any_name(tmp_path):
    (tmp_path / "Töne.csv").write_text("file,start_s,end_s,label\n" + ROW, "utf-8")
    done = g5(tmp_path, "convert", "Töne.csv", "--format", "csv", "-o", "öut.csv", **ASCII)
    assert done.returncode == 0, done.stderr
    assert "öut.csv" in done.stdout
    assert "Tür" in (tmp_path / "öut.csv").read_text("utf-8")


def test_what_a_terminal_lacks_is_printed_in_other_words(tmp_path):
    (tmp_path / "Töne.csv").write_text("file,start_s,end_s,label\n" + ROW, "utf-8")
    words = ("convert", "Töne.csv", "--format", "csv", "-o", "öα.csv")
    done = g5(tmp_path, *words, PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0, done.stderr
    assert "\\u03b1.csv" in done.stdout
