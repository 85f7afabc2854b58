"""What the machine has: processors that may be used, and room on a disk."""

import os
import shutil
from pathlib import Path

from g5.common.errors import UserError


def cores(workers: int | str = "auto") -> int:
    """A number of workers, with ``auto`` decided: one for each core that may be used."""
    if workers != "auto":
        return int(workers)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def need_room(
    folder: Path, size: int, what: str, *, advice: str = "free some space and run again"
) -> None:
    """Raise a `UserError` where the disk of ``folder`` has not ``size`` bytes left for ``what``."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(
            f"{folder}: the disk is too full: {what} needs {size / 1e9:.1f} GB more and "
            f"{free / 1e9:.1f} GB are free; {advice}"
        )
