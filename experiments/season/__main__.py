"""`python -m experiments.season [full|detect [SPECIES]|whole FOLDER [DAYS]]`: its tables."""

import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd

from experiments.season.made import CHANGE, MadeSeason, season
from experiments.season.told import compared, summary_of

# Of `detect`, where none is named.
SPECIES = (0, 1, 2)


def middle(days: int) -> MadeSeason:
    """Five recorders around the change, a minute an hour; one clock is reset, one misses a week."""
    first = CHANGE - timedelta(days=days // 2)
    return season(5, days, 60, faults=True, seed=0, first=first)


def full() -> None:
    """20 recorders, 60 days, a minute every ten; a million events."""
    made = season(20, 60, 10, faults=True, seed=0)
    made = replace(made, found=made.found.sample(1_000_000, random_state=0))
    with tempfile.TemporaryDirectory() as folder:
        found = made.write(Path(folder) / "found")
        begin, used = time.perf_counter(), time.process_time()
        summary_of(made, found, Path(folder) / "summary")
        wall, core = time.perf_counter() - begin, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    size = f"{len(made.recordings):,} recordings, {len(made.found):,} events"
    print(f"{size}: {wall:.0f} s, {core:.0f} s of one core, at most {peak:.2f} GB")


def main() -> None:
    asked, *numbers = [*sys.argv[1:], ""]
    if asked == "full":
        full()
        return
    if asked == "whole":
        from experiments.season.sound import heard

        place, days = Path(numbers[0]).resolve(), int(numbers[1] or 28)
        print(heard(SPECIES[0], middle(days), place).to_string(index=False))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if asked == "detect":
            from experiments.season.sound import four_days, heard  # PyTorch: `full` is measured

            each = [int(number) for number in numbers if number] or SPECIES
            tables = [heard(one, four_days(one), folder / str(one)) for one in each]
            print(pd.concat(tables).to_string(index=False))
            return
        made = middle(28)
        summary = summary_of(made, made.write(folder / "found"), folder / "summary")
        print(compared(made, summary).to_string(index=False))


if __name__ == "__main__":
    main()
