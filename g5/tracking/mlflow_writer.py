"""The thread that writes a run's record to MLflow, so that training never waits for it."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from g5.tracking.mlflow_places import check_answers, is_remote, say, short

if TYPE_CHECKING:
    from mlflow import MlflowClient

FLUSH_S = 2.0  # metrics are gathered this long; a viewer needs no more
CLOSE_S = 120.0  # the end of a run waits no longer than this for its record
MAX_METRICS = 1000  # in one request, says MLflow


@dataclass(frozen=True)
class Value:
    """One value of one metric."""

    key: str
    value: float
    step: int
    time_ms: int


Operation = Callable[["MlflowClient", str], None]
_Group = list[Value] | Operation


class RecordWriter(threading.Thread):
    """Writes what is added, in order, and moves to another store when the first one fails."""

    def __init__(
        self,
        client: "MlflowClient",
        run_id: str,
        *,
        fall_back: "Callable[[Exception], tuple[MlflowClient, str] | None]",
    ) -> None:
        super().__init__(name="mlflow-writer", daemon=True)
        self._run: tuple[MlflowClient, str] | None = (client, run_id)
        self._fall_back = fall_back
        self._queue: queue.SimpleQueue[Value | Operation | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        # All that was written to a server, for the store that may have to take its place.
        self._journal: list[_Group] = []
        self._said = ""

    def add(self, item: "Value | Operation") -> None:
        self._queue.put(item)

    def finish(self) -> None:
        """Write what is left; gives up, saying so, after `CLOSE_S`."""
        self._queue.put(None)
        self._hurry.set()
        self.join(CLOSE_S)
        if self.is_alive():
            say(f"MLflow: the record is not complete after {CLOSE_S:.0f} s; leaving it")

    def run(self) -> None:
        ended = False
        while not ended:
            items = [self._queue.get()]
            self._hurry.wait(FLUSH_S)
            while not self._queue.empty():
                items.append(self._queue.get())
            ended = None in items
            self._write([item for item in items if item is not None])

    def _write(self, items: "Sequence[Value | Operation]") -> None:
        groups = _groups(items)
        while groups and self._run is not None:
            group = groups.popleft()
            client, run_id = self._run
            error = _send(client, run_id, group)
            if error is not None and not _is_alive(client, run_id):
                self._run = self._fall_back(error)
                groups.extendleft([group, *reversed(self._journal)])
                self._journal = []
                continue
            if error is not None:  # a passing fault, or the fault of what is written
                error = _send(client, run_id, group)
            if error is not None:
                self._complain(error)
            elif is_remote(client.tracking_uri):
                self._journal.append(group)

    def _complain(self, error: Exception) -> None:
        text = f"MLflow: something was not recorded ({short(error)})"
        if text != self._said:
            say(text)
        self._said = text


def _groups(items: "Sequence[Value | Operation]") -> "deque[_Group]":
    """Items in their order, neighbouring metrics together."""
    groups: deque[_Group] = deque()
    for item in items:
        last = groups[-1] if groups else None
        if not isinstance(item, Value):
            groups.append(item)
        elif isinstance(last, list) and len(last) < MAX_METRICS:
            last.append(item)
        else:
            groups.append([item])
    return groups


def _send(client: "MlflowClient", run_id: str, group: "_Group") -> Exception | None:
    """Write a group; what went wrong, if anything: whatever it is, training goes on."""
    from mlflow.entities import Metric

    try:
        if isinstance(group, list):
            metrics = [Metric(item.key, item.value, item.time_ms, item.step) for item in group]
            client.log_batch(run_id, metrics=metrics)
        else:
            group(client, run_id)
    except Exception as error:
        return error
    return None


def _is_alive(client: "MlflowClient", run_id: str) -> bool:
    try:
        check_answers(client.tracking_uri, create=False)
        client.get_run(run_id)
    except Exception:
        return False
    return True
