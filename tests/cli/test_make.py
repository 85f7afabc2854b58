"""`make` with the Pythons that a machine may have."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


def dry_run(folder: Path, pythons: dict[str, str]) -> str:
    """What `make` would do to install, where these Pythons come first on the path."""
    for name, script in pythons.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    chosen = ("PYTHON", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")  # by who runs the tests
    environment = {key: value for key, value in os.environ.items() if key not in chosen}
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    command = ["make", "--dry-run", "--always-make", ".venv/installed"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_the_newest_python_that_runs_is_taken(tmp_path):
    works, shim = f'exec "{sys.executable}" "$@"', "echo no such version >&2; exit 127"
    assert "'python3.12' -m venv" in dry_run(tmp_path, {"python3.13": shim, "python3.12": works})
    assert "'python3.13' -m venv" in dry_run(tmp_path, {"python3.13": works, "python3.12": works})


def test_the_lock_holds_one_version_of_each_package_for_every_python():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    names = [line.split("==")[0] for line in lines if line[:1].isalnum()]
    assert len(names) == len(set(names)) > 100
