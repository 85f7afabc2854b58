"""Run every benchmark and print one table: `python -m benchmarks [name ...]`."""

import importlib
import platform
import sys
from datetime import date
from pathlib import Path

import torch


def main() -> int:
    """Print a Markdown table of all rows; 1 if a limit is not met, 2 for a name that is none."""
    known = sorted(
        path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py")
    )
    names = sys.argv[1:] or known
    if strange := [name for name in names if name not in known]:
        print(f"{strange[0]}: there is no such benchmark; choose from {', '.join(known)}")
        return 2
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"{date.today()}, {platform.machine()}, {torch.get_num_threads()} threads, {device}")
    print("| what | g5 | reference | unit | ratio | limit | met | note |")
    print("| --- | ---: | ---: | --- | ---: | ---: | --- | --- |")
    missed = 0
    for name in names:
        for row in importlib.import_module(f"benchmarks.bench_{name}").rows():
            bound = f"{'≥' if row.at_least else '≤'} {row.limit:g}"
            print(
                f"| {row.name} | {row.ours:.4g} | {row.reference:.4g} | {row.unit} "
                f"| {row.ratio:.2f} | {bound} | {'yes' if row.met else 'NO'} | {row.note} |",
                flush=True,
            )
            missed += not row.met
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
