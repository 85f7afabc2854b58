"""Thousands of requests at once to a page's server: none is lost, nobody let in, memory bounded."""

import http.client
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from g5.config.settings import load_transfer
from g5.detection.review.server import ReviewServer
from g5.detection.review.session import ReviewSession
from g5.detection.review.table import COMMAND, REVIEWS, FoundEvents
from g5.transfer.labelling.server import LabelServer
from g5.transfer.labelling.session import Session
from g5.web.journal import Journal
from g5.web.server import LocalServer
from tests.detection.review.found import make_found
from tests.labelled_store import CLASSES, make_store

MOST_BYTES = 300 * 2**20  # that memory may grow by
POST_BYTES = 100 * 2**20
# What must never be answered with what the server knows.
OUTSIDE = (
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/tile?row=../../etc/passwd",
    "/audio?row=0&file=/etc/passwd", "//[", "/tile?row=1e99", "/api/../api/state/..", "/\\..\\x",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A server, and how a person answers on its page.

    Attributes:
        name: for the tally.
        server: of the page.
        ask: path and query of what is next for a tab.
        shown: the row in an answer to that; None at the end.
        said: the answer to a row.
        journal: what is on the disk, read anew.
    """

    name: str
    server: LocalServer
    ask: Callable[[str], str]
    shown: Callable[[Any], int | None]
    said: Callable[[str, int, str], dict[str, Any]]
    journal: Callable[[], Journal]


@dataclass
class Load:
    """What came of it."""

    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        return "\n".join([*self.faults, f"{kinds}; {len(self.faults)} faults"])


@contextmanager
def targets(folder: Path) -> Iterator[list[Target]]:
    """Both servers, with something to label and to review."""
    store = make_store(folder / "label", recordings=40)
    session = Session(store, list(CLASSES), load_transfer(reads=()).label)
    found = make_found(folder / "review", recordings=12)
    review = ReviewSession(FoundEvents.read(found), load_transfer(reads=()).review)
    with LabelServer(session, port=0) as labelling, ReviewServer(review, port=0) as reviewing:
        session.start()
        for server in (labelling, reviewing):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        yield [
            Target(
                "labelling", labelling, lambda tab: f"/api/next?tab={tab}",
                lambda got: got["clip"] and got["clip"]["row"],
                lambda tab, row, id: {"tab": tab, "row": row, "kind": "label", "label": "low",
                                      "id": id, "seconds": 1},
                lambda: Journal(store.path),
            ),
            Target(
                "review", reviewing, lambda tab: f"/api/next?tab={tab}&order=sample",
                lambda got: got["event"] and got["event"]["row"],
                lambda tab, row, id: {"tab": tab, "row": row, "kind": "label", "label": "up",
                                      "id": id, "seconds": 1, "by": "sample", "order": "sample"},
                lambda: Journal(found, REVIEWS, COMMAND),
            ),
        ]  # fmt: skip
        labelling.shutdown()
        reviewing.shutdown()
        session.stop()


def strain(target: Target, *, requests: int, clients: int, seed: int) -> Load:
    """So many requests from clients at once, good and bad ones in turns; what came of it."""
    load, lock = Load(), threading.Lock()
    before = psutil.Process().memory_info().rss
    left = iter(range(requests))

    def client(number: int) -> None:
        one = _Client(target, f"tab{number}", random.Random(f"{seed}/{number}"), load, lock)
        while True:
            with lock:
                if next(left, None) is None:
                    return
            one.request()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grown = psutil.Process().memory_info().rss - before
    if grown > MOST_BYTES:
        load.faults.append(f"{target.name}: memory grew by {grown / 2**20:.0f} MB")
    journal = target.journal()
    written = {entry.id for entry in journal.entries.values()}
    if lost := load.answered - written:
        load.faults.append(f"{target.name}: {len(lost)} answers were taken and are not there")
    if journal.damaged:
        load.faults.append(f"{target.name}: {journal.damaged} damaged lines")
    return load


class _Client:
    """One browser, or what pretends to be one."""

    def __init__(
        self, target: Target, tab: str, rng: random.Random, load: Load, lock: threading.Lock
    ) -> None:
        self.target, self.tab, self.rng = target, tab, rng
        self.load, self.lock = load, lock
        self.port = target.server.server_address[1]
        self.answers = 0

    def request(self) -> None:
        """One of them, drawn by the seed."""
        kinds = (self.answer, self.foreign, self.outside, self.slow, self.vanish, self.huge)
        kind = self.rng.choices(kinds, (60, 15, 15, 4, 5, 1))[0]
        try:
            fault = kind()
        except (OSError, http.client.HTTPException) as error:
            fault = f"{type(error).__name__}: {error}"
        with self.lock:
            self.load.kinds[kind.__name__] += 1
            if fault:
                self.load.faults.append(f"{self.target.name}, {kind.__name__}: {fault}")

    def _ask(self, method: str, path: str, said: Any = None, **headers: str) -> tuple[int, bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            body = None if said is None else json.dumps(said)
            line.request(method, path, body, {"X-Token": self.target.server.token, **headers})
            got = line.getresponse()
            return got.status, got.read()
        finally:
            line.close()

    def answer(self) -> str | None:
        """What is next, and a word on it, as the page does; now and then said twice."""
        status, content = self._ask("GET", self.target.ask(self.tab))
        row = self.target.shown(json.loads(content)) if status == 200 else None
        if row is None:
            return None if status == 200 else f"status {status}: {content[:200]!r}"
        id = f"{self.tab}.{self.answers}"
        self.answers += 1
        for _ in range(self.rng.choice((1, 1, 1, 2))):
            status, content = self._ask("POST", "/api/answer", self.target.said(self.tab, row, id))
            if status != 200:
                return f"status {status}: {content[:200]!r}"
        with self.lock:
            self.load.answered.add(id)
        return None

    def foreign(self) -> str | None:
        """Another host, another site, no token, a wrong one: none of them is let in."""
        said = self.target.said(self.tab, 0, f"foreign {self.tab}")
        headers = self.rng.choice(
            [{"Host": "evil.example"}, {"Host": f"127.0.0.1:{self.port}.evil.example"},
             {"Origin": "http://evil.example"}, {"Origin": "null"}, {"X-Token": ""},
             {"X-Token": self.target.server.token[:-1]}, {"X-Token": "ü"}]
        )  # fmt: skip
        method, path = self.rng.choice([("POST", "/api/answer"), ("GET", self.target.ask("x"))])
        status, content = self._ask(method, path, said if method == "POST" else None, **headers)
        return None if status == 403 else f"{headers} is let in: status {status} {content[:80]!r}"

    def outside(self) -> str | None:
        """A path that leaves its root, or is none."""
        status, content = self._ask("GET", self.rng.choice(OUTSIDE))
        secret = b"root:" in content or self.target.server.token.encode() in content
        return f"status {status}: {content[:80]!r}" if secret or status in (500, 403) else None

    def slow(self) -> str | None:
        """A request that comes in pieces; it is waited for, and others are not kept waiting."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as line:
            for byte in self._head("GET", self.target.ask(self.tab)):
                line.sendall(bytes([byte]))
            return None if line.recv(12)[9:12] == b"200" else "a slow request gets no answer"

    def vanish(self) -> None:
        """Half of an answer, and nobody there any more."""
        body = json.dumps(self.target.said(self.tab, 0, f"half {self.tab}")).encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as line:
            head = self._head("POST", "/api/answer", f"Content-Length: {len(body)}\r\n")
            line.sendall(head + body[: len(body) // 2])

    def huge(self) -> str | None:
        """A POST of 100 MB: refused, and not kept."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as line:
            line.sendall(self._head("POST", "/api/answer", f"Content-Length: {POST_BYTES}\r\n"))
            with suppress(OSError):  # it hangs up while it is spoken to
                for _ in range(POST_BYTES // 2**20):
                    line.sendall(b" " * 2**20)
            with suppress(OSError):
                got = line.recv(12)
                return None if got[9:12] in (b"", b"413") else f"status {got!r}"
        return None

    def _head(self, method: str, path: str, more: str = "") -> bytes:
        return (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"X-Token: {self.target.server.token}\r\nConnection: close\r\n{more}\r\n"
        ).encode()
