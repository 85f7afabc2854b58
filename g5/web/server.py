"""A page's server: on 127.0.0.1 only, with a token of this session, and no assets.

Every answer is on the disk before the next one is asked. A request without the token, or that
names another host, gets nothing.
"""

import json
import secrets
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from g5.common.errors import UserError

HOST = "127.0.0.1"
MOST_BYTES = 64 * 1024  # of a request
# What a request is answered with: a media type and the content.
Answer = tuple[str, bytes]
Routes = dict[str, Callable[[dict[str, Any]], Answer]]


class LocalServer(ThreadingHTTPServer):
    """Serves one session's page.

    Args:
        handler: answers the requests.
        command: that started it, to be named in messages.
        port: 0: any that is free.

    Raises:
        UserError: the port is taken.
    """

    daemon_threads = True
    request_queue_size = 64  # several pages at once ask for a clip, its picture and its sound
    # A port that another program holds must be an error, and not be shared with it.
    allow_reuse_address = False

    def __init__(self, handler: type["PageHandler"], command: str, *, port: int) -> None:
        self.command = command
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), handler)
        except OSError as error:
            raise UserError(
                f"port {port} on {HOST}: {error.strerror}; choose another with --port"
            ) from error

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        return f"http://{HOST}:{self.server_address[1]}/?token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error; anything else is told in a line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"a request failed: {type(error).__name__}: {error}", file=sys.stderr)

    def until_stopped(self, *, browser: bool) -> None:
        """Serve until Ctrl-C; ``browser`` opens the page."""
        if browser:
            with suppress(webbrowser.Error):
                webbrowser.open(self.url)
        with _until_stopped():
            threading.Thread(target=self.serve_forever, daemon=True).start()
            threading.Event().wait()
        self.shutdown()


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Leave the block quietly on Ctrl-C and SIGTERM."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


class Refused(Exception):
    """A request that gets an error: its status and what to say."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PageHandler(BaseHTTPRequestHandler):
    """Checks who asks, and answers by the routes of a subclass."""

    server: LocalServer  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"
    timeout = 30

    def gets(self) -> Routes:
        """Pages and pictures, by path."""
        raise NotImplementedError

    def posts(self) -> Routes:
        """What a person says, by path."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Pages and pictures."""
        self._answer(self.gets())

    def do_POST(self) -> None:
        """What a person says."""
        self._answer(self.posts(), speaks=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of every request."""

    def _answer(self, routes: Routes, *, speaks: bool = False) -> None:
        try:
            # Read first, or the body of a refused request is taken for the next one.
            content = self._content(speaks)
            url = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            self._check(query)
            if url.path not in routes:
                raise Refused(404, "there is no such page")
            said = _object(content) if speaks else {}
            self._send(200, *routes[url.path]({**query, **said}))
        except Refused as refusal:
            self._send_error(refusal.status, str(refusal))
        except UserError as error:
            self._send_error(422, str(error))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            self._send_error(400, f"the request is incomplete ({error})")

    def _check(self, query: dict[str, str]) -> None:
        """Refuse requests of other sites: by the host and origin they name, and by the token."""
        port = self.server.server_address[1]
        own = (f"{HOST}:{port}", f"localhost:{port}")
        if self.headers.get("Host") not in own:
            raise Refused(403, "another host")
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in own:
            raise Refused(403, "another site")
        given = self.headers.get("X-Token") or query.get("token", "")
        if not secrets.compare_digest(given.encode(), self.server.token.encode()):
            raise Refused(
                403,
                "the token is not of this session; open the address that "
                f"{self.server.command} printed",
            )

    def _content(self, speaks: bool) -> bytes:
        """The body; where it cannot be read whole, the connection ends with this answer."""
        given = self.headers.get("Content-Length") or "0"
        length = int(given) if given.isdecimal() and len(given) < 12 else -1  # as int takes it
        fits = 0 < length <= MOST_BYTES if speaks else length == 0
        if not fits or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise Refused(413, "no answer is that long" if speaks else "a question has no body")
        content = self.rfile.read(length)
        if len(content) < length:
            # The browser went away while it was speaking: what it meant is not known.
            self.close_connection = True
            raise Refused(400, "the request ends early; nothing was written")
        return content

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Content-Security-Policy": "default-src 'none'; img-src 'self' data: blob:; "
            "media-src 'self' blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "connect-src 'self'",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def _send_error(self, status: int, message: str) -> None:
        self._send(status, "application/json", json.dumps({"error": message}).encode())


def _object(content: bytes) -> dict[str, Any]:
    said = json.loads(content)
    if not isinstance(said, dict):
        raise Refused(400, "an answer is an object")
    return said


def as_json(content: Any) -> Answer:
    """Plain values, to be sent."""
    return "application/json", json.dumps(content).encode()
