"""Files appear whole; what a killed process left goes with the next write."""

import errno
import os
import subprocess
import sys

import pytest

from g5.common import atomic
from g5.common.atomic import atomic_path, hold_file
from g5.web.journal import Journal

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


@pytest.mark.skipif(atomic.fcntl is None, reason="no locks on this system")
def test_who_holds_a_file_keeps_out_whoever_wants_it_alone(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.touch()
    with open(path, "rb") as one, open(path, "rb") as other:
        assert hold_file(one) is True
        assert hold_file(other) is False
    with open(path, "rb") as one, open(path, "rb") as other, open(path, "rb") as third:
        assert hold_file(one, shared=True) is True
        assert hold_file(other, shared=True) is True
        assert hold_file(third) is False

    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(atomic.fcntl, "flock", without_locks)
    with open(path, "rb") as one:
        assert hold_file(one) is None
    with Journal(tmp_path).alone():
        pass
