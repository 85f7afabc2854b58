"""How long a user waits: for `g5 --help`, and for a whole `debug=fast` run."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import Claim, alternate

ROUNDS = 9
LONGEST_S = 30.0
TRAIN_PY = Path(__file__).resolve().parent.parent / "archs" / "train.py"


def rows() -> Iterator[Claim]:
    """`g5 --help` against importing click; a fresh `debug=fast` run against 30 s."""
    g5 = [str(Path(sys.executable).with_name("g5")), "--help"]
    click = [sys.executable, "-c", "import click"]
    seconds = alternate({"g5": lambda: _run(g5), "click": lambda: _run(click)}, ROUNDS)
    yield Claim("g5 --help / import click", seconds["g5"], seconds["click"], "s", 3.0)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        _run([sys.executable, str(TRAIN_PY), "arch=v1", "debug=fast"], folder)
        wall = time.perf_counter() - start
    yield Claim("archs/train.py arch=v1 debug=fast", wall, LONGEST_S, "s", 1.0, note="first run")


def _run(command: Sequence[str], folder: str | None = None) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
