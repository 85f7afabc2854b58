"""`g5 ui` where nothing was trained, and a command whose terminal is closed."""

import signal
import subprocess
import sys

import pytest

from tests.conftest import run_g5

COMMAND = """
import os, signal, sys, time
from g5.common.terminal import end_with_terminal
end_with_terminal()
try:
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(5)
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGHUP)
    sys.exit(3)
"""


def test_no_runs_are_said_and_nothing_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    inner = tmp_path / "runs" / "empty"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert run_g5(["ui"]) == 1
    assert "no runs here; " in capsys.readouterr().err
    assert list(inner.iterdir()) == []
    (tmp_path / "runs" / "mlflow.db").touch()
    assert run_g5(["ui"]) == 1
    assert f"the last ones are in {tmp_path / 'runs'}: cd there" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this system")
def test_a_closed_terminal_ends_a_command_once_as_ctrl_c_does():
    assert subprocess.run([sys.executable, "-c", COMMAND], timeout=60).returncode == 3
    ignored = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{COMMAND}"
    ignored = ignored.replace("time.sleep(5)", "sys.exit(4)")
    assert subprocess.run([sys.executable, "-c", ignored], timeout=60).returncode == 4
