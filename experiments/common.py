"""What the experiments share: command line, real recordings, trainings, counted looks, tables."""

import csv
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from g5.common.atomic import write_text
from g5.common.errors import UserError
from g5.common.revision import git_revision
from g5.config.settings import Settings
from g5.evaluation.intervals import Interval
from g5.runs.train import run
from g5.tracking.checkpoints import BEST

ENVIRONMENT = "G5_REAL_DATA"
REAL_TABLES = ("esc10/clips.csv", "fsdd/clips.csv")

# --- command line -------------------------------------------------------------------------------


def run_as_command(main: Callable[[Sequence[str]], object]) -> None:
    """Run ``main`` on the command line's words; what the user can put right is one line, exit 1."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def real_dir(settings: Settings) -> Path:
    """Where the real recordings lie: `path.real_dir`, else the environment's."""
    given = settings.path.real_dir or os.environ.get(ENVIRONMENT)
    if not given:
        raise UserError(
            f"path.real_dir: say where ESC-10 and FSDD lie, or set {ENVIRONMENT}; "
            "experiments/README.md says where to get them"
        )
    missing = [table for table in REAL_TABLES if not (Path(given) / table).is_file()]
    if missing:
        raise UserError(f"path.real_dir={given}: has no {' and no '.join(missing)}")
    return Path(given)


# --- trainings and looks ------------------------------------------------------------------------


@dataclass(frozen=True)
class FinishedTraining:
    """A finished training.

    Attributes:
        folder: of the run.
        cpu_min: CPU minutes of the training, validation included.
    """

    folder: Path
    cpu_min: float

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch that procedural validation liked best."""
        return self.folder / "checkpoints" / BEST


def finished(settings: Settings) -> FinishedTraining:
    """Train, or go on with a training that was stopped, or take what is finished."""
    folder = settings.path.root / "outputs" / settings.name / settings.exp_name
    clock = folder / "cpu_min.json"
    if not clock.is_file():
        start = time.process_time()
        run(settings)
        write_text(clock, json.dumps((time.process_time() - start) / 60))
    return FinishedTraining(folder, json.loads(clock.read_text("utf-8")))


def note_look(path: Path, **what: str) -> None:
    """Count a look at real recordings, in a CSV, before it is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        if new:
            writer.writerow(["date", *what, "revision"])
        writer.writerow([date.today(), *what.values(), git_revision() or ""])


# --- what is printed ----------------------------------------------------------------------------


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1) -> str:
    """A Markdown table; columns after the first ``text_columns`` hold numbers."""
    marks = ["---" if i < text_columns else "---:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))


def percent_cell(interval: Interval) -> str:
    """``71.3 ± 0.5 %``."""
    return f"{100 * interval.mean:.1f} ± {100 * interval.half_width:.1f} %"


def percent_ends_cell(interval: Interval) -> str:
    """``71.3 % (70.8–71.8)``."""
    return f"{100 * interval.mean:.1f} % ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def hardware() -> str:
    """When and on what."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {device}"
