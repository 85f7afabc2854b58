"""The labelling page's server: on 127.0.0.1 only, with a token of this session, and no assets.

Every answer is on the disk before the next clip goes out. A request without the token, or that
names another host, gets nothing.
"""

import json
import secrets
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from g5.common.errors import UserError
from g5.transfer.labelling.page import html
from g5.transfer.labelling.session import Session

HOST = "127.0.0.1"
MOST_BYTES = 64 * 1024  # of a request
TILE = (900, 280)  # pixels
LEAST_STRETCH_S = 0.02


class LabelServer(ThreadingHTTPServer):
    """Serves one session.

    Args:
        session: what is labelled.
        port: 0: any that is free.

    Raises:
        UserError: the port is taken.
    """

    daemon_threads = True
    # A port that another program holds must be an error, and not be shared with it.
    allow_reuse_address = False

    def __init__(self, session: Session, *, port: int) -> None:
        self.session = session
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), _Handler)
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


class _Refused(Exception):
    """A request that gets an error: its status and what to say."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Pages and pictures."""
        routes: dict[str, Callable[[dict[str, str]], tuple[str, bytes]]] = {
            "/": self._page, "/api/next": self._next, "/api/state": self._state,
            "/api/map": self._map, "/tile": self._tile, "/audio": self._audio,
        }  # fmt: skip
        self._answer(routes)

    def do_POST(self) -> None:
        """What a person says."""
        routes: dict[str, Callable[[dict[str, str]], tuple[str, bytes]]] = {
            "/api/answer": self._said, "/api/undo": self._undo, "/api/class": self._class,
        }  # fmt: skip
        self._answer(routes, speaks=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of every request."""

    def _answer(
        self,
        routes: dict[str, Callable[[dict[str, str]], tuple[str, bytes]]],
        *,
        speaks: bool = False,
    ) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            # Read first, or the body of a refused request is taken for the next one.
            content = self._content(speaks)
            self._check(query)
            if url.path not in routes:
                raise _Refused(404, "there is no such page")
            said = _object(content) if speaks else {}
            self._send(200, *routes[url.path]({**query, **said}))
        except _Refused as refusal:
            self._send_error(refusal.status, str(refusal))
        except UserError as error:
            self._send_error(422, str(error))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            self._send_error(400, f"the request is incomplete ({error})")

    def _check(self, query: dict[str, str]) -> None:
        """Refuse requests of other sites: by the host they name, and by the token."""
        port = self.server.server_address[1]
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            raise _Refused(403, "another host")
        given = self.headers.get("X-Token") or query.get("token", "")
        if not secrets.compare_digest(given.encode(), self.server.token.encode()):
            raise _Refused(
                403, "the token is not of this session; open the address that g5 label printed"
            )

    def _content(self, speaks: bool) -> bytes:
        """The body; where it cannot be read whole, the connection ends with this answer."""
        given = self.headers.get("Content-Length") or "0"
        length = int(given) if given.isdecimal() else -1
        fits = 0 < length <= MOST_BYTES if speaks else length == 0
        if not fits or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise _Refused(413, "no answer is that long" if speaks else "a question has no body")
        content = self.rfile.read(length)
        if len(content) < length:
            # The browser went away while it was speaking: what it meant is not known.
            self.close_connection = True
            raise _Refused(400, "the request ends early; nothing was written")
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
            "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; "
            "media-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
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

    # --- routes -----------------------------------------------------------------------------

    def _page(self, query: dict[str, str]) -> tuple[str, bytes]:
        name = self.server.session.store.path.name
        return "text/html; charset=utf-8", html(name, self.server.token).encode()

    def _next(self, query: dict[str, str]) -> tuple[str, bytes]:
        return _json(self._clip(query["tab"]))

    def _state(self, query: dict[str, str]) -> tuple[str, bytes]:
        return _json(self.server.session.state())

    def _map(self, query: dict[str, str]) -> tuple[str, bytes]:
        return _json(self.server.session.map_points())

    def _said(self, said: dict[str, Any]) -> tuple[str, bytes]:
        message = self.server.session.answer(
            str(said["tab"]), int(said["row"]), str(said["kind"]), str(said.get("label", "")),
            id=str(said["id"]), seconds=float(said.get("seconds", 0)),
        )  # fmt: skip
        return _json({**self._clip(str(said["tab"])), "message": message})

    def _undo(self, said: dict[str, Any]) -> tuple[str, bytes]:
        row = self.server.session.undo(str(said["tab"]))
        message = "There is nothing to undo." if row is None else ""
        return _json({**self._clip(str(said["tab"])), "message": message})

    def _class(self, said: dict[str, Any]) -> tuple[str, bytes]:
        name = self.server.session.add_class(str(said["name"]))
        return _json({"name": name, "state": self.server.session.state()})

    def _clip(self, tab: str) -> dict[str, Any]:
        session = self.server.session
        row = session.next(tab)
        clip = None
        if row is not None:
            file, start_s, end_s = session.clips[row]
            clip = {
                "row": row, "file": file, "start_s": start_s, "end_s": end_s,
                "date": str(session.index["date"].iloc[row]),
                "suggestions": [{"name": n, "p": p} for n, p in session.suggestions(row)],
            }  # fmt: skip
        return {"clip": clip, "state": session.state()}

    def _stretch(self, query: dict[str, str]) -> tuple[Any, float, float, float, float]:
        """Recording, stretch that is shown, and the clip in it."""
        session = self.server.session
        row, zoom = int(query["row"]), float(query.get("zoom", 1))
        if not 0 <= row < len(session.clips) or not 0.125 <= zoom <= 64:
            raise _Refused(404, "there is no such clip")
        path, start_s, end_s = session.audio(row)
        length = max(end_s - start_s, LEAST_STRETCH_S)
        middle, half = (start_s + end_s) / 2, length * zoom / 2
        return path, middle - half, middle + half, start_s, end_s

    def _tile(self, query: dict[str, str]) -> tuple[str, bytes]:
        from g5.web.tiles import Mark, spectrogram_tile
        from preprocessing.audio import info

        path, low_s, high_s, start_s, end_s = self._stretch(query)
        band = min(max(float(query.get("band", 1)), 0.03), 1.0)
        if band != band:
            raise _Refused(404, "there is no such band")
        top_hz = info(path).rate_hz / 2 * band
        marks = [Mark(start_s, end_s)] if high_s - low_s > 1.01 * (end_s - start_s) else []
        png = spectrogram_tile(
            path, low_s, high_s, high_hz=top_hz, marks=marks, width=TILE[0], height=TILE[1]
        )
        return "image/png", png

    def _audio(self, query: dict[str, str]) -> tuple[str, bytes]:
        from g5.web.tiles import AUDIO_TYPE, audio_snippet

        path, low_s, high_s, _, _ = self._stretch(query)
        return AUDIO_TYPE, audio_snippet(path, low_s, high_s)


def _object(content: bytes) -> dict[str, Any]:
    said = json.loads(content)
    if not isinstance(said, dict):
        raise _Refused(400, "an answer is an object")
    return said


def _json(content: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(content).encode()
