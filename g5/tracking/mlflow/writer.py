"""The thread that writes a run's record to MLflow, so that training never waits for it."""

import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from g5.common.secrets import redacted
from g5.tracking.mlflow.places import check_answers, is_remote, say, short

if TYPE_CHECKING:
    from mlflow import MlflowClient

FLUSH_S = 2.0  # metrics are gathered this long; a viewer needs no more
CLOSE_S = 120.0  # the end of a run waits no longer than this for a server that answers
RETRY_S = 2.0  # between looks whether a server is back
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
    """Writes what is added, in order; waits for a server that is away, then moves elsewhere.

    Sending again what a server had already taken when it died changes nothing.

    Args:
        client: of the store.
        run_id: the run there.
        wait_s: how long a server may be away before another store takes its place.
        fall_back: makes the run in the other store, or says that there is none.
    """

    def __init__(
        self,
        client: "MlflowClient",
        run_id: str,
        *,
        wait_s: float,
        fall_back: "Callable[[Exception], tuple[MlflowClient, str] | None]",
    ) -> None:
        super().__init__(name="mlflow-writer", daemon=True)
        self._run: tuple[MlflowClient, str] | None = (client, run_id)
        self._wait_s = wait_s
        self._fall_back = fall_back
        self._queue: queue.SimpleQueue[Value | Operation | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        # All that was written to a server, for the store that may have to take its place.
        self._journal: list[_Group] = []
        self._held: deque[_Group] = deque()
        self._away: tuple[float, Exception] | None = None  # since when, and what it said
        self._said = ""

    def add(self, item: "Value | Operation") -> None:
        self._queue.put(item)

    def finish(self) -> None:
        """Write what is left; gives up, saying so, after `CLOSE_S` and the wait for a server."""
        self._queue.put(None)
        self._hurry.set()
        patience_s = CLOSE_S + self._wait_s
        self.join(patience_s)
        if self.is_alive():
            say(f"MLflow: the record is not complete after {patience_s:.0f} s; leaving it")

    def run(self) -> None:
        ended = False
        while not ended or self._held:
            if ended:
                time.sleep(min(RETRY_S, self._wait_s))
            else:
                items = self._gathered()
                ended = None in items
                self._held.extend(_groups([item for item in items if item is not None]))
            self._write_held()

    def _gathered(self) -> "list[Value | Operation | None]":
        """What was added; while a server is away, also nothing."""
        try:
            items = [self._queue.get(timeout=RETRY_S if self._away else None)]
        except queue.Empty:
            return []
        self._hurry.wait(FLUSH_S)
        while not self._queue.empty():
            items.append(self._queue.get())
        return items

    def _write_held(self) -> None:
        while self._held and self._run is not None:
            client, run_id = self._run
            if self._away and not _is_alive(client, run_id):
                error: Exception | None = self._away[1]
            else:
                error = _send(client, run_id, self._held[0])
            if error is not None and not _is_alive(client, run_id):
                if self._waits_for(client, error):
                    return
                self._away, self._run = None, self._fall_back(error)
                self._held.extendleft(reversed(self._journal))
                self._journal = []
                continue
            if error is not None:  # a passing fault, or the fault of what is written
                error = _send(client, run_id, self._held[0])
            if self._away:
                self._away = None
                say(f"MLflow: {redacted(client.tracking_uri)} answers again; nothing is lost")
            group = self._held.popleft()
            if error is not None:
                self._complain(error)
            elif is_remote(client.tracking_uri):
                self._journal.append(group)
        if self._run is None:
            self._held.clear()

    def _waits_for(self, client: "MlflowClient", error: Exception) -> bool:
        """Whether to hold back what is recorded until a server is back."""
        if self._away is None and is_remote(client.tracking_uri) and self._wait_s > 0:
            self._away = (time.monotonic(), error)
            say(
                f"MLflow: {redacted(client.tracking_uri)} does not answer ({short(error)}); the "
                f"record is held back for it, up to {self._wait_s:g} s"
            )
            return True
        return self._away is not None and time.monotonic() < self._away[0] + self._wait_s

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


def metric_name(name: str) -> str:
    """``name`` with what MLflow refuses (``@``, ``=``, ...) turned into ``_``; ``/`` stays."""
    return re.sub(r"[^\w\-. :/]", "_", name)
