"""How long a user waits: for `g5 --help`, and for a whole `debug=fast` run."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import Claim

ROUNDS = 9
LONGEST_S = 30.0
TRAIN_PY = Path(__file__).resolve().parent.parent / "archs" / "train.py"


def rows() -> Iterator[Claim]:
    """`g5 --help` against importing click; a fresh `debug=fast` run against 30 s."""
    g5 = [str(Path(sys.executable).with_name("g5")), "--help"]
    click = [sys.executable, "-c", "import click"]
    times = [(_seconds(g5), _seconds(click)) for _ in range(ROUNDS)]
    ours, reference = (statistics.median(side) for side in zip(*times, strict=True))
    yield Claim("g5 --help / import click", ours, reference, "s", 3.0)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(TRAIN_PY), "arch=v1", "debug=fast"]
        seconds = _seconds(command, folder)
    yield Claim("archs/train.py arch=v1 debug=fast", seconds, LONGEST_S, "s", 1.0, note="first run")


def _seconds(command: Sequence[str], folder: str | None = None) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start
