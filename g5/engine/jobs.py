"""The one interface of work that is shared out: jobs in, results in the order of the jobs.

A job may be done more than once (a worker dies, and another takes over); what it gives is taken
once, and by one process alone, which keeps it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from g5.config.schema import EngineSettings

What = TypeVar("What")


@dataclass(frozen=True)
class Job(Generic[What]):
    """A piece of work.

    Attributes:
        what: is to be done; it travels to another process.
        name: of the recording, for people.
        seconds: of sound.
    """

    what: What
    name: str
    seconds: float


# Does jobs one after another, and yields any number of results of each beside it, in order. A
# `UserError` among them says what is wrong with a job; one that is raised ends all work.
Worker = Callable[[Iterable[Job]], Iterator[tuple[Job, Any]]]
# Makes a worker where it is to work (loads the model); it travels to another process.
Work = Callable[[], Worker]


def done(
    settings: EngineSettings | None, jobs: Sequence[Job], work: Work
) -> Iterator[tuple[Job, Any]]:
    """Every result beside its job, in the order of the jobs, wherever they are done.

    Args:
        settings: None: in this process.
        jobs: to do.
        work: makes workers.

    Yields:
        Also, on workers elsewhere, a `UserError` for a job whose workers have died too often.

    Raises:
        UserError: there is no such cluster.
    """
    if settings is None or settings.where == "local":
        return work()(jobs)
    from g5.engine.on_ray import RayJobs

    return RayJobs(settings, jobs, work).results()
