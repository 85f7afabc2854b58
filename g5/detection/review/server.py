"""The review page's requests: its events, pictures and answers."""

from pathlib import Path
from typing import Any

from g5.common.errors import UserError
from g5.detection.review.page import LEAST_S, SPAN, served_page
from g5.detection.review.session import ReviewSession
from g5.web.server import Answer, LocalServer, PageHandler, Refused, Routes, as_json
from g5.web.tiles import AUDIO_TYPE, audible_slow_down, audio_snippet, spectrogram_tile
from preprocessing.audio import info

TILE = (900, 280)  # pixels
ZOOM, BAND = (0.125, 32.0), (0.03, 1.0)


class ReviewServer(LocalServer):
    """Serves one session.

    Args:
        session: what is reviewed.
        port: 0: any that is free.

    Raises:
        UserError: the port is taken.
    """

    def __init__(self, session: ReviewSession, *, port: int) -> None:
        self.session = session
        super().__init__(_ReviewRequests, "g5 review", port=port)


class _ReviewRequests(PageHandler):
    server: ReviewServer  # type: ignore[assignment]

    def gets(self) -> Routes:
        return {
            "/": self._page,
            "/api/next": self._next,
            "/tile": self._tile,
            "/audio": self._audio,
        }

    def posts(self) -> Routes:
        return {"/api/answer": self._said, "/api/undo": self._undo}

    def _page(self, query: dict[str, Any]) -> Answer:
        session = self.server.session
        content = served_page(
            session.found.folder.resolve().name, self.server.token, session.settings.order
        )
        return "text/html; charset=utf-8", content.encode()

    def _next(self, query: dict[str, Any]) -> Answer:
        return as_json(self._shown(query))

    def _said(self, said: dict[str, Any]) -> Answer:
        session, tab, row, id = self.server.session, str(said["tab"]), int(said["row"]), said["id"]
        ends = said.get("ends")
        ends = None if ends is None else (float(ends[0]), float(ends[1]))
        if said.get("mark"):
            if ends is None:
                raise Refused(400, "a mark has two ends")
            message = session.mark(tab, row, *ends, str(said["label"]), id=str(id))
        else:
            message = session.answer(
                tab, row, str(said["kind"]), str(said.get("label", "")), id=str(id),
                seconds=float(said.get("seconds", 0)), ends=ends, by=str(said["by"]),
            )  # fmt: skip
        return as_json(self._shown(said, message))

    def _undo(self, said: dict[str, Any]) -> Answer:
        undone = self.server.session.undo(str(said["tab"]))
        return as_json(self._shown(said, "" if undone else "There is nothing to undo."))

    def _shown(self, query: dict[str, Any], message: str = "") -> dict[str, Any]:
        """The next event, the one that will follow, and what the answers amount to."""
        session = self.server.session
        rows = session.next(str(query["tab"]), str(query["order"]), str(query.get("species", "")))
        events = [event_of(session, row) for row in rows] + [None, None]
        return {
            "event": events[0], "upcoming": events[1], "message": message, "state": session.state(),
        }  # fmt: skip

    def _tile(self, query: dict[str, Any]) -> Answer:
        row, zoom = self._asked(query)
        band = min(max(float(query.get("band", 1)), BAND[0]), BAND[1])
        return "image/png", tile_of(self.server.session, row, zoom=zoom, band=band)

    def _audio(self, query: dict[str, Any]) -> Answer:
        row, zoom = self._asked(query)
        return AUDIO_TYPE, audio_of(self.server.session, row, zoom=zoom)

    def _asked(self, query: dict[str, Any]) -> tuple[int, float]:
        row, zoom = int(query["row"]), float(query.get("zoom", 1))
        if not (0 <= row < len(self.server.session.found.clips) and ZOOM[0] <= zoom <= ZOOM[1]):
            raise Refused(404, "there is no such event")
        return row, zoom


def event_of(session: ReviewSession, row: int) -> dict[str, Any]:
    """What the page says of an event."""
    file, start_s, end_s = session.found.clips[row]
    low_s, high_s = _view(start_s, end_s, 1 / ZOOM[0])
    try:
        top_hz = info(file).rate_hz / 2
    except UserError:  # it is told where the picture should be
        top_hz = 0.0
    near = session.near(row, low_s, high_s)
    return session.event(row) | {"top_hz": top_hz, "near": near}


def tile_of(session: ReviewSession, row: int, *, zoom: float = 1.0, band: float = 1.0) -> bytes:
    """The spectrogram around an event, PNG; ``band`` is the share of the rate's half that is seen.

    Raises:
        UserError: the recording cannot be read.
    """
    file, start_s, end_s = session.found.clips[row]
    path = Path(file)
    return spectrogram_tile(
        path, session.rules, *_view(start_s, end_s, zoom),
        high_hz=info(path).rate_hz / 2 * band, width=TILE[0], height=TILE[1],
    )  # fmt: skip


def audio_of(session: ReviewSession, row: int, *, zoom: float = 1.0) -> bytes:
    """What an event and its surroundings sound like, MP3, slower where it would not be heard.

    Raises:
        UserError: the recording cannot be read.
    """
    file, start_s, end_s = session.found.clips[row]
    slow = float(audible_slow_down(session.band(row)[1] or 0.0))
    return audio_snippet(Path(file), session.rules, *_view(start_s, end_s, zoom), slow_down=slow)


def _view(start_s: float, end_s: float, zoom: float) -> tuple[float, float]:
    middle, half = (start_s + end_s) / 2, zoom * max(SPAN * (end_s - start_s), LEAST_S) / 2
    return middle - half, middle + half
