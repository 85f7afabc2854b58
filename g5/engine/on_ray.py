"""Work on a Ray cluster: actors with a model each, retries, quarantine, back-pressure.

Units of work are handed out in order, and their results wait for their turn: whoever takes them
keeps them in the same order as one process alone would, for any number of workers.
"""

import os
import pickle
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from g5.common.elsewhere import kept
from g5.common.errors import UserError, brief, needs
from g5.common.machine import cores
from g5.config.schema import EngineSettings
from g5.engine.jobs import Job, Work

AUTO = "auto"
# A worker gets its next unit before it has finished this one.
QUEUED = 2


@dataclass
class _Unit:
    """Jobs that are handed out together.

    Attributes:
        jobs: some of them.
        deaths: of workers that were at it.
        results: None until it is done.
    """

    jobs: Sequence[Job]
    deaths: int = 0
    results: list[tuple[Job, Any]] | None = None
    inside: "list[_Unit]" = field(default_factory=list)

    def whole(self) -> list[tuple[Job, Any]] | None:
        """Results, those of what it was split into in order; None until all are there."""
        if not self.inside:
            return self.results
        parts = [unit.results for unit in self.inside]
        return None if None in parts else [pair for part in parts for pair in part or []]


class _Remote:
    """What a Ray actor is: it makes its worker with the first unit, and keeps it."""

    def __init__(
        self, work: bytes, folder: str, paths: list[str], threads: int, cache: kept.Cache,
        allowed: list[str],
    ) -> None:  # fmt: skip
        self._work, self._worker = work, None
        os.chdir(folder)
        kept.use(cache)
        kept.allow(*allowed)
        sys.path[:0] = [path for path in paths if path not in sys.path]
        from torch import set_num_threads

        set_num_threads(threads)

    def do(self, jobs: Sequence[Job]) -> list[tuple[int, Any]]:
        """Results, each with the number of its job."""
        if self._worker is None:
            # Not before: the user's own classes are found by the paths.
            self._worker = pickle.loads(self._work)()
        number = {id(job): i for i, job in enumerate(jobs)}
        return [(number[id(job)], result) for job, result in self._worker(jobs)]


class RayJobs:
    """Jobs that are done by the actors of a cluster.

    Args:
        settings: where, how many, how patient.
        jobs: to do.
        work: makes workers.
    """

    def __init__(self, settings: EngineSettings, jobs: Sequence[Job], work: Work) -> None:
        self._settings, self._work = settings, work
        self._todo = deque(_Unit(part) for part in units(jobs, settings.unit_s))
        self._busy: dict[Any, deque[tuple[Any, _Unit]]] = {}

    def results(self) -> Iterator[tuple[Job, Any]]:
        """See `g5.engine.jobs.done`."""
        with cluster(self._settings) as ray:
            count = _workers(self._settings, ray, len(self._todo))
            most = count * (self._settings.ahead + 1)
            make = self._maker(ray)
            self._busy = {make(): deque() for _ in range(count)}
            again: deque[_Unit] = deque()  # what was handed out before goes first
            window: deque[_Unit] = deque()  # handed out, and not yet taken
            try:
                while self._todo or window:
                    self._hand_out(again, window, most)
                    self._wait(ray, make, again)
                    while window and (results := window[0].whole()) is not None:
                        yield from results
                        window.popleft()
            finally:
                for actor in self._busy:
                    ray.kill(actor)

    def _maker(self, ray: Any) -> Any:
        own = self._settings
        remote = ray.remote(num_cpus=own.cpus, num_gpus=own.gpus)(_Remote)
        work = ray.put(ray.cloudpickle.dumps(self._work))
        paths = [path for path in sys.path if os.path.isdir(path)]
        there = os.getcwd(), paths, own.cpus, kept.cache(), kept.allowed()
        return lambda: remote.remote(work, *there)

    def _hand_out(self, again: "deque[_Unit]", window: "deque[_Unit]", most: int) -> None:
        """Give units to whoever has the fewest, as long as not too many wait to be taken."""
        while again or (self._todo and len(window) < most):
            actor = min(self._busy, key=lambda actor: len(self._busy[actor]))
            if len(self._busy[actor]) >= QUEUED:
                return
            if again:
                unit = again.popleft()
            else:
                window.append(unit := self._todo.popleft())
            self._busy[actor].append((actor.do.remote(list(unit.jobs)), unit))

    def _wait(self, ray: Any, make: Any, again: "deque[_Unit]") -> None:
        """Wait for a unit; of an actor that has died, make another."""
        heads = {queue[0][0]: actor for actor, queue in self._busy.items() if queue}
        if not heads:
            return
        for ref in ray.wait(list(heads), num_returns=1)[0]:
            actor = heads[ref]
            unit = self._busy[actor][0][1]
            try:
                found = ray.get(ref)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:
                queue = self._busy.pop(actor)
                ray.kill(actor)
                # Those behind it have done nothing wrong.
                again.extendleft(unit for _, unit in reversed(list(queue)[1:]))
                again.extendleft(reversed(self._after_death(unit, error)))
                self._busy[make()] = deque()
            else:
                unit.results = [(unit.jobs[number], result) for number, result in found]
                self._busy[actor].popleft()

    def _after_death(self, unit: _Unit, error: Exception) -> list[_Unit]:
        """What is tried again: one by one, so that the one at fault is found."""
        if len(unit.jobs) > 1:
            unit.inside = [_Unit([job]) for job in unit.jobs]
            return unit.inside
        unit.deaths += 1
        if unit.deaths < self._settings.tries:
            return [unit]
        job = unit.jobs[0]
        why = f"{unit.deaths} workers have died of it ({brief(error)})"
        unit.results = [(job, UserError(f"{job.name}: {why}"))]
        return []


def units(jobs: Iterable[Job], unit_s: float) -> Iterator[list[Job]]:
    """Jobs in their order, put together until they are so long."""
    unit: list[Job] = []
    seconds = 0.0
    for job in jobs:
        unit.append(job)
        seconds += job.seconds
        if seconds >= unit_s:
            yield unit
            unit, seconds = [], 0.0
    if unit:
        yield unit


@contextmanager
def cluster(settings: EngineSettings) -> Iterator[Any]:
    """Ray, connected to a cluster; one that was started for it ends with it.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    with needs("engine=ray needs Ray", "ray"):
        import ray  # pyright: ignore[reportMissingImports]
    ours = not ray.is_initialized()
    if ours:
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if settings.address is None:
                cpus = max(cores(AUTO), settings.cpus)
                # Else its workers give way to everything else on the machine.
                os.environ.setdefault("RAY_worker_niceness", "0")
                ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
            else:
                ray.init(address=settings.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"engine.address={settings.address}: there is no Ray cluster ({brief(error)}); "
                "start one with ray start --head, or leave the address away"
            ) from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _workers(settings: EngineSettings, ray: Any, n_units: int) -> int:
    """How many actors the cluster has room for, or the user wants."""
    there = ray.cluster_resources()
    room = int(there.get("CPU", 0) // settings.cpus)
    if settings.gpus:
        room = min(room, int(there.get("GPU", 0) / settings.gpus))
    if not room:
        raise UserError(
            f"engine.cpus={settings.cpus}, engine.gpus={settings.gpus:g}: no worker fits the "
            f"cluster, which has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs"
        )
    wanted = room if settings.workers == AUTO else min(settings.workers, room)
    return max(min(wanted, n_units), 1)
