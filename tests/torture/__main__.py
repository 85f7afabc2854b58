"""The long torture, `make torture`: mutated inputs, load, odd places, kills; a tally at the end.

It goes on where it was stopped: ends are noted under ``build/torture/``, by the git revision.
"""

import argparse
import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from g5.common.revision import git_revision
from tests.conftest import ROOT
from tests.torture.fuzz import fuzz
from tests.torture.kills import commands, preload, torture
from tests.torture.load import strain, targets
from tests.torture.places import PLACES
from tests.torture.readers import make_readers


def main() -> int:
    """Do the parts that are asked for; the exit code, 1 if anything went wrong."""
    parts: dict[str, Callable[[argparse.Namespace, Path], list[str]]] = {
        "inputs": _inputs, "load": _load, "places": _places, "kills": _kills,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}")
    parser.add_argument("--inputs", type=int, default=50_000, help="mutated, over all readers")
    parser.add_argument("--requests", type=int, default=5_000, help="to each server")
    parser.add_argument("--kills", type=int, default=200, help="in all, over all jobs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "torture")
    asked = parser.parse_args()
    folder = asked.folder.resolve() / str(git_revision()).replace("+", "_")
    faults = []
    for name in asked.parts or parts:
        (folder / name).mkdir(parents=True, exist_ok=True)
        found = parts[name](asked, folder / name)
        print(*found, f"{name}: {len(found)} faults", sep="\n", flush=True)
        faults += found
    print(f"{len(faults)} faults in all; what was done is noted in {folder}")
    return int(bool(faults))


def _inputs(asked: argparse.Namespace, folder: Path) -> list[str]:
    shutil.rmtree(folder / "whole", ignore_errors=True)
    (folder / "whole").mkdir()
    readers = make_readers(folder / "whole")
    tally = fuzz(readers, folder, inputs=asked.inputs, seed=asked.seed)
    print(tally, flush=True)
    return tally.failures


def _load(asked: argparse.Namespace, folder: Path) -> list[str]:
    shutil.rmtree(folder)
    faults = []
    with targets(folder) as both:
        for target in both:
            load = strain(target, requests=asked.requests, clients=16, seed=asked.seed)
            print(f"{target.name}: {load}", flush=True)
            faults += load.faults
    return faults


def _places(asked: argparse.Namespace, folder: Path) -> list[str]:
    base, faults = _base(folder / "base"), []
    for name, place in PLACES.items():
        home = folder / name.replace(" ", "_")
        if (told := home.with_suffix(".txt")).exists():
            found = told.read_text().splitlines()
        else:
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(base, home, symlinks=True)
            found = [f"{name}: {fault}" for fault in place(home)]
            told.write_text("\n".join(found))
            shutil.rmtree(home)
        print(f"{name}: {len(found)} faults", flush=True)
        faults += found
    return faults


def _kills(asked: argparse.Namespace, folder: Path) -> list[str]:
    base, faults = _base(folder / "base"), []
    jobs = commands(*_names(base))
    preload()
    for number, job in enumerate(jobs):
        share = len(range(number, asked.kills, len(jobs)))
        home = folder / job.name.replace(" ", "_")
        home.mkdir(exist_ok=True)
        found = torture(job, base, home, kills=share, seed=asked.seed)
        print(f"{job.name}: {share} kills, {len(found)} faults", flush=True)
        faults += found
    return faults


def _base(base: Path) -> Path:
    """A folder with a checkpoint, recordings and a support; made once."""
    if (base / "support.csv").exists():
        return base
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
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
    return base


def _names(base: Path) -> tuple[str, str, str]:
    """The checkpoint, the recordings and the support, as paths in it."""
    recordings = next(base.glob("outputs/procedural/*/Evaluation_Set/PROC"))
    return "model.ckpt", recordings.relative_to(base).as_posix(), "support.csv"


if __name__ == "__main__":
    sys.exit(main())
