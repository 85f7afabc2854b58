"""A Ray that is only played: its actors work at once, in this process, and note what is asked."""

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from g5.engine.jobs import Job


class _Died(Exception):
    pass


class _Reference:
    """To what an actor will have done."""

    def __init__(self, jobs: Sequence[Job], killers: Sequence[str]) -> None:
        self.names = [job.name for job in jobs]
        self.died = set(self.names) & set(killers)


class _Actor:
    def __init__(self, do: Any) -> None:
        self.do = SimpleNamespace(remote=do)


def play_ray(patch: pytest.MonkeyPatch, killers: Sequence[str]) -> list[Any]:
    """Put it where Ray is imported from.

    Args:
        patch: puts it there.
        killers: names of jobs that their workers die of.

    Returns:
        Filled as it goes: what a cluster is made of, what actors ask for, which jobs are done.
    """
    seen: list[Any] = []

    def do(jobs: Sequence[Job]) -> _Reference:
        reference = _Reference(jobs, killers)
        seen.append(reference.names)
        return reference

    def remote(**asked: Any) -> Any:
        seen.append(asked)
        return lambda _: SimpleNamespace(remote=lambda *_: _Actor(do))

    def get(reference: _Reference) -> list[tuple[int, str]]:
        if reference.died:
            raise _Died(str(reference.died))
        return list(enumerate(reference.names))

    patch.setitem(sys.modules, "ray", SimpleNamespace(
        is_initialized=lambda: False, init=lambda **asked: seen.append(asked), kill=lambda _: None,
        shutdown=lambda: None, cluster_resources=lambda: {"CPU": 4.0, "GPU": 4.0}, remote=remote,
        put=lambda what: what, cloudpickle=SimpleNamespace(dumps=lambda what: what), get=get,
        # The one handed out last is done first.
        wait=lambda references, num_returns: (references[-num_returns:], []),
        exceptions=SimpleNamespace(RayTaskError=KeyboardInterrupt, RayError=_Died),
    ))  # fmt: skip
    return seen
