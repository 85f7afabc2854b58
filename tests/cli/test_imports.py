"""Every module is importable, on every Python."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

IMPORT_ALL = """
import importlib, pkgutil
for root in ("archs", "g5", "preprocessing"):
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, root + "."):
        importlib.import_module(module.name)
"""


@pytest.mark.smoke
def test_every_module_is_importable():
    command = [sys.executable, "-W", "error::SyntaxWarning", "-c", IMPORT_ALL]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
