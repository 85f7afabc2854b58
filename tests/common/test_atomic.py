"""Files appear whole; what a killed process left goes with the next write."""

import os
import subprocess
import sys

from g5.common import atomic
from g5.common.atomic import atomic_path

KILLED = """
import os, signal, sys
from g5.common.atomic import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path, monkeypatch):
    path, living = tmp_path / "a.csv", tmp_path / f".b.{os.getpid()}@{atomic._HOST}.tmp.csv"
    living.touch()
    (tmp_path / ".c.1@other.tmp.csv").touch()  # of another machine's, which may live
    subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(atomic, "_swept", set())
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
    left = sorted(entry.name for entry in tmp_path.iterdir())
    assert left == sorted([living.name, ".c.1@other.tmp.csv", "a.csv"])
