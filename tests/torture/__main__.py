"""The long torture, `make torture`: kills and mutated inputs, and a tally at the end."""

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.torture.fuzz import fuzz, make_readers
from tests.torture.kills import commands, torture


def main() -> int:
    """Kill and fuzz; the exit code, 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="in all, over all jobs")
    parser.add_argument("--inputs", type=int, default=50_000, help="mutated, over all readers")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inputs").mkdir()
        readers = make_readers(folder / "inputs")
        tally = fuzz(readers, folder / "fuzzed", inputs=asked.inputs, seed=asked.seed)
        print(tally, flush=True)
        base = folder / "base"
        jobs = commands(*_base(base)) if asked.kills else []
        faults = []
        for number, job in enumerate(jobs):
            share = len(range(number, asked.kills, len(jobs)))
            found = torture(job, base, folder / job.name, kills=share, seed=asked.seed)
            print(f"{job.name}: {share} kills, {len(found)} faults", flush=True)
            faults += found
    print(*faults, f"{asked.kills} kills, {len(faults)} faults", sep="\n")
    return int(bool(faults or tally.failures))


def _base(base: Path) -> tuple[str, str, str]:
    """A folder with a checkpoint, recordings and a support; their paths in it."""
    base.mkdir()
    command = [sys.executable, str(ROOT / "main.py"), "train", "v1", "debug=fast", "logger=none"]
    subprocess.run(command, cwd=base, check=True, env={"PYTHONPATH": str(ROOT)})
    (run,) = base.glob("outputs/*/v1_debug")
    shutil.copyfile(run / "checkpoints" / "best_checkpoint.ckpt", base / "model.ckpt")
    shutil.rmtree(run.parent)
    shutil.rmtree(base / "outputs" / "store")
    recordings = next(base.glob("outputs/procedural/*/Evaluation_Set/PROC"))
    with open(sorted(recordings.glob("*.csv"))[0], newline="") as handle:
        rows = list(csv.DictReader(handle))
    label = next(name for row in rows for name, mark in row.items() if mark == "POS")
    with open(base / "support.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "start_s", "end_s", "label"])
        for row in [row for row in rows if row[label] == "POS"][:5]:
            writer.writerow([row["Audiofilename"], row["Starttime"], row["Endtime"], label])
    return "model.ckpt", recordings.relative_to(base).as_posix(), "support.csv"


if __name__ == "__main__":
    sys.exit(main())
