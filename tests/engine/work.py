"""Work that a test shares out: it squares numbers, and dies where it is told to."""

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from g5.common.errors import UserError
from g5.engine.jobs import Job, Worker


@dataclass(frozen=True)
class Squares:
    """Each number once as it is and once squared.

    Attributes:
        folder: where it is written down what was begun.
        deadly: number: how often its worker dies of it.
    """

    folder: Path
    deadly: dict[int, int]

    def __call__(self) -> Worker:
        return self.work

    def work(self, jobs: Iterable[Job[int]]) -> Iterator[tuple[Job[int], object]]:
        for job in jobs:
            begun = self.folder / f"{job.what}.begun"
            with begun.open("a") as handle:
                handle.write("x")
            if len(begun.read_text()) <= self.deadly.get(job.what, 0):
                os.kill(os.getpid(), signal.SIGKILL)
            yield job, job.what
            yield job, UserError("is negative") if job.what < 0 else job.what**2


def squares_of(numbers: Iterable[int]) -> list[tuple[int, object]]:
    return [(n, value) for n in numbers for value in (n, n**2)]


def jobs_of(numbers: Iterable[int]) -> list[Job[int]]:
    return [Job(n, f"r{n}.wav", 60.0) for n in numbers]
