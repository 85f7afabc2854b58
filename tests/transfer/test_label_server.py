"""The labelling server without a browser: who may speak, and a browser that vanishes mid-save."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from g5.config.settings import load_transfer
from g5.transfer.labelling.server import LabelServer
from g5.transfer.labelling.session import Session
from g5.web.journal import CHECK, Journal
from tests.labelled_store import CLASSES, make_store


@pytest.fixture
def server(tmp_path) -> Iterator[LabelServer]:
    settings = load_transfer(reads=()).label
    session = Session(make_store(tmp_path, recordings=4), list(CLASSES), settings)
    with LabelServer(session, port=0) as running:
        session.start()
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        session.stop()


def request(server: LabelServer, method: str, path: str, said: Any = None, **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    body = said if said is None or isinstance(said, bytes) else json.dumps(said)
    connection.request(method, path, body, {"X-Token": server.token, **headers})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def answer(row: int) -> dict[str, Any]:
    return {"tab": "t", "row": row, "kind": "label", "label": "low", "id": "1", "seconds": 2}


def spoken(server: LabelServer, said: dict[str, Any], share: float) -> None:
    """Say a share of an answer and go away without listening."""
    body = json.dumps(said).encode()
    port = server.server_address[1]
    head = (
        f"POST /api/answer HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Token: {server.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(head + body[: round(share * len(body))])


def labels(server: LabelServer) -> list[str]:
    return [entry.label for entry in Journal(server.session.store.path).entries.values()]


def test_only_this_session_and_this_host_may_speak(server):
    assert request(server, "GET", "/api/state", **{"X-Token": "guess"})[0] == 403
    assert request(server, "GET", "/api/state", Host="evil.example")[0] == 403
    assert request(server, "GET", "/api/nothing")[0] == 404
    status, content = request(server, "POST", "/api/answer", {"tab": "t"})
    assert status == 400
    assert "incomplete" in content["error"]
    assert request(server, "POST", "/api/answer", answer(999))[0] == 422
    assert labels(server) == []


def test_a_clip_has_axes_and_may_be_nameless(server):
    clip = request(server, "GET", "/api/next?tab=t")[1]["clip"]
    assert clip["file"].startswith("rec")
    assert clip["top_hz"] == 4000
    assert clip["stretch"] == [clip["start_s"], clip["end_s"]]
    server.hide_names = True
    clip = request(server, "GET", "/api/next?tab=t")[1]["clip"]
    assert "rec0" not in json.dumps(clip)
    assert clip["date"] == ""


def test_a_browser_that_vanishes_mid_save_loses_at_most_what_it_did_not_say(server):
    row = request(server, "GET", "/api/next?tab=t")[1]["clip"]["row"]
    spoken(server, answer(row), 0.6)
    # The server lives, and shows the clip again: nothing was written of half an answer.
    assert request(server, "GET", "/api/next?tab=t")[1]["clip"]["row"] == row
    assert labels(server) == []
    # All was said, and nobody waited for the answer: it is on the disk.
    spoken(server, answer(row), 1.0)
    for _ in range(200):
        if labels(server):
            break
        request(server, "GET", "/api/state")
    assert labels(server) == ["low"]
    # The browser does not know, and says it again.
    status, content = request(server, "POST", "/api/answer", answer(row))
    assert (status, content["message"]) == (200, "")
    assert content["clip"]["row"] != row
    assert labels(server) == ["low"]
    assert request(server, "POST", "/api/undo", {"tab": "t"})[1]["clip"]["row"] == row
    assert labels(server) == []


def test_the_body_of_a_refused_request_is_no_request(server):
    port = server.server_address[1]
    inner = f"GET /api/state?token={server.token} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    lines = ("POST /api/nowhere", "POST /api/answer", "GET /api/state")
    for line, length in [*((line, len(inner)) for line in lines), (lines[0], "9" * 5000)]:
        head = f"{line} HTTP/1.1\r\nHost: evil\r\nContent-Length: {length}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall((head + inner).encode())
            received = b""
            with contextlib.suppress(TimeoutError):
                while part := connection.recv(65536):
                    received += part
        assert received.count(b"HTTP/1.1 ") == 1
        assert b" 200 " not in received


def test_seconds_that_are_no_number_are_refused_and_forgotten(server):
    for seconds in ("nan", "inf", float("nan")):
        status, _ = request(server, "POST", "/api/answer", {**answer(0), "seconds": seconds})
        assert status == 422
    assert request(server, "POST", "/api/answer", {**answer(0), "row": float("inf")})[0] == 400
    assert request(server, "POST", "/api/answer", {**answer(0), "label": "\ud800"})[0] == 422
    deep = b"[" * 20_000 + b"]" * 20_000
    assert request(server, "POST", "/api/answer", deep)[0] == 400
    assert labels(server) == []
    assert request(server, "POST", "/api/answer", answer(0))[0] == 200
    path = Journal(server.session.store.path).path
    earlier = {k: v for k, v in json.loads(path.read_text()).items() if k != CHECK}
    path.write_text(json.dumps({**earlier, "seconds": float("nan")}) + "\n")
    (entry,) = Journal(server.session.store.path).entries.values()
    assert entry.seconds == 0.0


def test_classes_are_listed_while_others_answer(server):
    """Listing waits for the lock under which answers are written."""
    session, listed = server.session, []
    with session._lock:
        thread = threading.Thread(target=lambda: listed.append(session.classes))
        thread.start()
        thread.join(timeout=0.2)
        assert listed == []
    thread.join()
    assert listed == [list(CLASSES)]
