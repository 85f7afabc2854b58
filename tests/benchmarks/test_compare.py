"""`make bench-compare`: what is a loss, and what is noise."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.compare import Measured, compared, rows_of
from tests.conftest import ROOT

PRINTS = """
print("| step | {step} | 1 | s | 1 | ≤ 2 | yes | a | b |")
print("| rate | {rate} | 1 | x real time | 1 | ≥ 1 | yes | |")
"""


def test_rows_of_a_table() -> None:
    line = "| a / b | 0.5 | 2 | ms | 0.2 | ≥ 1 | yes | |"
    rows = rows_of(f"2026-01-01, two cores\n| what | g5 |\n{line}")
    assert rows == {"a / b": Measured(0.5, "ms", True)}


def row(values: list[float], more: bool = False) -> list[Measured]:
    return [Measured(value, "s", more) for value in values]


def test_a_loss_is_one_whose_whole_interval_is_beyond_15_percent() -> None:
    assert compared(row([1.0, 1.1, 0.9]), row([1.3, 1.43, 1.17])).lost
    assert not compared(row([1.0, 1.1, 0.9]), row([1.1, 1.21, 0.99])).lost
    assert not compared(row([1.0, 1.0, 1.0]), row([1.0, 2.5, 0.9])).lost, "noise"
    assert compared(row([100.0, 110.0], True), row([70.0, 77.0], True)).lost, "a rate"
    assert compared(row([1.0, 2.0]), row([0.5, 1.0])).ratio == pytest.approx(0.5)


def compare(home: Path, base: str, change: str, *names: str) -> subprocess.CompletedProcess[str]:
    """Two versions of `python -m benchmarks` against each other, in a repository of their own."""
    main = home / "benchmarks" / "__main__.py"
    main.parent.mkdir()
    (main.parent / "__init__.py").touch()  # else a package elsewhere would go before
    main.write_text(base)
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "base"]):
        subprocess.run(["git", *words], cwd=home, check=True)
    main.write_text(change)
    command = [sys.executable, str(ROOT / "benchmarks" / "compare.py"), "HEAD", "turns=2", *names]
    done = subprocess.run(command, cwd=home, text=True, capture_output=True)
    left = subprocess.run(["git", "worktree", "list"], cwd=home, text=True, capture_output=True)
    assert len(left.stdout.splitlines()) == 1
    return done


@pytest.mark.parametrize(("step", "rate", "code"), [(1.05, 99, 0), (1.3, 100, 1), (1.0, 60, 1)])
def test_two_revisions_are_measured_in_turns(tmp_path: Path, step, rate, code) -> None:
    base = PRINTS.format(step=1.0, rate=100)
    done = compare(tmp_path, base, PRINTS.format(step=step, rate=rate))
    assert done.returncode == code, done.stdout + done.stderr
    assert ("LOST" in done.stdout) == bool(code)


def test_a_benchmark_that_ends_before_its_time_is_no_result(tmp_path: Path) -> None:
    whole = PRINTS.format(step=1.0, rate=100)
    done = compare(tmp_path, whole, f"{whole}\nraise ValueError('half')")
    assert done.returncode == 2
    assert "ValueError: half" in done.stderr
    assert "compare.py" not in done.stderr


def test_a_benchmark_that_nobody_has_is_named(tmp_path: Path) -> None:
    whole = PRINTS.format(step=1.0, rate=100)
    done = compare(tmp_path, whole, whole, "nothing")
    assert done.returncode == 2
    assert "there is no such benchmark: nothing" in done.stderr
