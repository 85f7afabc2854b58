"""A web server of this process with some files, and the weaknesses that real ones have."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files` by path; a path that ends with a slash is a page of links.

    Attributes:
        files: bytes by path.
        ranges: whether parts of a file can be asked for.
        failing: answers with HTTP 500 that a path still gives.
        slow_s: seconds before each answer with content.
        sent: called with a path before its content is.
        asked: requests by path.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.failing: Counter[str] = Counter()
        self.slow_s = 0.0
        self.sent: Callable[[str], None] = lambda path: None
        self.asked: Counter[str] = Counter()

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients may leave in the middle."""
        del request, client_address

    @property
    def address(self) -> str:
        """Of its root, without the slash."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(None)

    def _answer(self, body: bytes | None) -> None:
        path, server = self.path, self.server
        server.asked[path] += 1
        if server.failing[path] > 0:
            server.failing[path] -= 1
            self._send(500, b"", {})
            return
        if path.endswith("/"):
            names = {
                name[len(path) :].partition("/") for name in server.files if name.startswith(path)
            }
            links = "".join(f'<a href="{n}{slash}">{n}</a>' for n, slash, _ in sorted(names))
            page = f'<a href="../">up</a><a href="?C=M">sort</a>{links}'.encode()
            self._send(200 if names else 404, page, {"Content-Type": "text/html"})
            return
        if path not in server.files:
            self._send(404, b"", {})
            return
        if body is None:
            time.sleep(server.slow_s)
            server.sent(path)
        content = server.files[path]
        headers = {"ETag": f'"{hash(content)}"', "Content-Type": "application/octet-stream"}
        asked = self.headers.get("Range", "") if server.ranges else ""
        if asked and body is None:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            part = content[int(first) : int(last) + 1]
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
            self._send(206, part, headers)
            return
        self._send(200, content, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextmanager
def served() -> Iterator[Server]:
    """A server that runs meanwhile."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
