"""A base revision and the working tree measured in turns: `python -m benchmarks.compare REV`.

Every turn runs the benchmarks of both, each by its own code, and the order changes from turn to
turn. A row is a loss where the paired 95 % interval of its ratio lies beyond 15 %; then the exit
code is 1. Names of benchmarks choose some, `turns=5` says how often.
"""

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import t

LOSS, TURNS, LEVEL = 0.15, 5, 0.95


@dataclass(frozen=True)
class Measured:
    """A row of the table: a value, and whether more is better."""

    value: float
    unit: str
    more_is_better: bool


@dataclass(frozen=True)
class Compared:
    """What a row costs now over what it cost: 1.2 is a loss of 20 %, with its interval."""

    ratio: float
    low: float
    high: float

    @property
    def lost(self) -> bool:
        return self.low > 1 + LOSS


def main(words: Sequence[str]) -> int:
    """Print a row for each benchmark; 1 if any is lost, 2 if it cannot be compared."""
    turns = next((int(w.removeprefix("turns=")) for w in words if w.startswith("turns=")), TURNS)
    revision, *names = [word for word in words if not word.startswith("turns=")] or [""]
    if not revision or turns < 2:
        print("python -m benchmarks.compare REV [name ...] [turns=5]; at least 2 turns")
        return 2
    here = Path.cwd()
    base: list[dict[str, Measured]] = []
    change: list[dict[str, Measured]] = []
    with checked_out(revision, here) as there:
        for turn in range(turns):
            sides = [(there, base), (here, change)]
            for folder, rows in sides if turn % 2 == 0 else reversed(sides):
                try:
                    rows.append(measured(folder, names))
                except RuntimeError as error:
                    print(error, file=sys.stderr)
                    return 2
                print(f"turn {turn + 1} of {turns}: {folder}", file=sys.stderr, flush=True)
    if not change[0]:
        print(f"there is no such benchmark: {', '.join(names)}", file=sys.stderr)
        return 2
    return table(base, change)


@contextmanager
def checked_out(revision: str, repository: Path) -> Iterator[Path]:
    """A revision in a folder of its own, as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "base"
        git = ["git", "-C", str(repository), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), revision], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


def measured(folder: Path, names: Sequence[str]) -> dict[str, Measured]:
    """The rows that the benchmarks of a folder print; those that it does not have print none.

    Raises:
        RuntimeError: one of them ends before its time.
    """
    there = [name for name in names if (folder / "benchmarks" / f"bench_{name}.py").exists()]
    if names and not there:
        return {}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *there], cwd=folder, encoding="utf-8",
        capture_output=True, env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    rows = rows_of(done.stdout)
    # Exit code 1 is a limit that is missed, too.
    if not rows or "Traceback (most recent call last)" in done.stderr:
        raise RuntimeError(f"{folder}: fails\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return rows


def rows_of(text: str) -> dict[str, Measured]:
    """The rows of a printed table, by name."""
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if len(cells) >= 6 and cells[5][:1] in ("≤", "≥"):
            rows[cells[0]] = Measured(float(cells[1]), cells[3], cells[5].startswith("≥"))
    return rows


def compared(base: Sequence[Measured], change: Sequence[Measured]) -> Compared:
    """The mean of the turns' log ratios, and its Student interval."""
    sign = -1.0 if base[0].more_is_better else 1.0
    log_T = np.array([
        sign * math.log(new.value / old.value) for old, new in zip(base, change, strict=True)
    ])  # fmt: skip
    mean, half = float(log_T.mean()), 0.0
    if len(log_T) > 1:
        half = float(t.ppf((1 + LEVEL) / 2, len(log_T) - 1) * log_T.std(ddof=1) / len(log_T) ** 0.5)
    return Compared(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def table(base: Sequence[Mapping[str, Measured]], change: Sequence[Mapping[str, Measured]]) -> int:
    """Print what was measured; 1 if any row is lost."""
    print("| what | base | change | unit | cost | 95 % interval | verdict |")
    print("| --- | ---: | ---: | --- | ---: | --- | --- |")
    lost = 0
    for name in dict.fromkeys([*base[0], *change[0]]):
        turns = zip(base, change, strict=True)
        pairs = [(b[name], c[name]) for b, c in turns if name in b and name in c]
        if not pairs:
            print(f"| {name} | | | | | | {'gone' if name in base[0] else 'new'} |")
            continue
        old, new = [b for b, _ in pairs], [c for _, c in pairs]
        found = compared(old, new)
        lost += found.lost
        verdict = "LOST" if found.lost else "gained" if found.high < 1 else "held"
        print(
            f"| {name} | {np.median([m.value for m in old]):.4g} | "
            f"{np.median([m.value for m in new]):.4g} | {old[0].unit} | {found.ratio:.2f} | "
            f"{found.low:.2f} to {found.high:.2f} | {verdict} |"
        )
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
