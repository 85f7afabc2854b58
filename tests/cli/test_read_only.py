"""A folder that cannot be written: every command that would write into it says so in one line."""

import ctypes
import io
import multiprocessing
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import run_g5

NEW_PLACES, BIND, READ_ONLY, REMOUNT, PRIVATE = 0x20000, 4096, 1, 32, (1 << 18) | (1 << 14)
COMMANDS = (
    "convert calls.csv --format raven -o tables.txt",
    "clips calls.csv -o cut",
    "data split labels.csv -o split.csv --no-mlflow",
    "data when recordings --zone UTC --mtime -o when.csv",
    "evaluate calls.csv calls.csv --json scores.json",
    "embed handcrafted recordings -o new.store encoder.sr=8000",
    "embed handcrafted recordings/more -o x.store encoder.sr=8000",
    "classify x.store --labels labels.csv -o x.head classify.heads=[prototype]",
    "search x.store --unusual -o s.html",
    "cluster x.store -o c.csv",
    "detect handcrafted recordings --support calls.csv -o found encoder.sr=8000",
    "features debug=fast",
    "train v1 debug=fast",
    "sweep v1 debug=fast arch.model.dropout=interval(0,0.5) sweep.trials=2",
)


def made_read_only(home: Path) -> bool:
    """Whether the folder is read-only now, for this process alone (not to root by its mode)."""
    if os.geteuid() != 0:
        for folder, *_ in os.walk(home):
            os.chmod(folder, 0o555)
        return True
    libc, place = ctypes.CDLL(None), os.fsencode(home)
    return not (
        libc.unshare(NEW_PLACES)
        or libc.mount(None, b"/", None, PRIVATE, None)
        or libc.mount(place, place, None, BIND, None)
        or libc.mount(None, place, None, REMOUNT | BIND | READ_ONLY, None)
    )


def ends_of(home: Path, log: Path) -> None:
    """Run all commands in a process of its own; a line for each in `log`."""
    if not made_read_only(home):
        os._exit(77)
    os.chdir(home)
    for command in COMMANDS:
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            code = run_g5(command.split())
        with open(log, "a", encoding="utf-8") as ends:
            ends.write(f"{code} {said.getvalue().strip().rpartition(chr(10))[2]}\n")
    os._exit(0)


def test_a_folder_that_cannot_be_written_is_told_in_a_line(tmp_path, monkeypatch):
    home, log = tmp_path / "home", tmp_path / "log"
    (home / "recordings" / "more").mkdir(parents=True)
    monkeypatch.chdir(home)
    rng, names = np.random.default_rng(0), [f"{number}.wav" for number in range(8)]
    for name in (*names, "more/c.wav"):
        soundfile.write(home / "recordings" / name, 0.1 * rng.standard_normal(8000), 8000)
    rows = "".join(f"recordings/0.wav,{start},{start + 0.2},owl\n" for start in (0.1, 0.4, 0.7))
    (home / "calls.csv").write_text("file,start_s,end_s,label\n" + rows, "utf-8")
    rows = "".join(f"{name},{('owl', 'fox')[int(name[0]) % 2]}\n" for name in names)
    (home / "labels.csv").write_text("file,label\n" + rows, "utf-8")
    rows = "".join(f"recordings/{name}\n" for name in names)
    (home / "list.txt").write_text(rows, "utf-8")
    assert run_g5(["embed", "handcrafted", "list.txt", "-o", "x.store", "encoder.sr=8000"]) == 0
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    process = multiprocessing.get_context("fork").Process(target=ends_of, args=(home, log))
    process.start()
    process.join()
    for folder, *_ in os.walk(home):
        os.chmod(folder, 0o755)
    if process.exitcode == 77:
        pytest.skip("nothing is read-only to root here")
    ends = log.read_text("utf-8").splitlines()
    assert len(ends) == len(COMMANDS), ends
    told = ("read-only", "cannot write", "permission denied")
    assert not [
        end for end in ends if end[:2] != "1 " or not any(word in end.lower() for word in told)
    ]
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before
