"""The labelling page's requests: its clips, pictures and answers."""

from typing import Any

from g5.common.errors import UserError
from g5.transfer.labelling.page import html
from g5.transfer.labelling.session import Session
from g5.web.server import Answer, LocalServer, PageHandler, Refused, Routes, as_json

TILE = (900, 280)  # pixels
LEAST_STRETCH_S = 0.02


class LabelServer(LocalServer):
    """Serves one session.

    Args:
        session: what is labelled.
        port: 0: any that is free.
        hide_names: the page does not tell recordings' names and dates.

    Raises:
        UserError: the port is taken.
    """

    def __init__(self, session: Session, *, port: int, hide_names: bool = False) -> None:
        self.session, self.hide_names = session, hide_names
        super().__init__(_LabelRequests, "g5 label", port=port)


class _LabelRequests(PageHandler):
    server: LabelServer  # type: ignore[assignment]

    def gets(self) -> Routes:
        return {
            "/": self._page, "/api/next": self._next, "/api/state": self._state,
            "/api/map": self._map, "/tile": self._tile, "/audio": self._audio,
        }  # fmt: skip

    def posts(self) -> Routes:
        return {"/api/answer": self._said, "/api/undo": self._undo, "/api/class": self._class}

    def _page(self, query: dict[str, str]) -> Answer:
        name = self.server.session.store.path.name
        return "text/html; charset=utf-8", html(name, self.server.token).encode()

    def _next(self, query: dict[str, str]) -> Answer:
        return as_json(self._clip(query["tab"]))

    def _state(self, query: dict[str, str]) -> Answer:
        return as_json(self.server.session.state())

    def _map(self, query: dict[str, str]) -> Answer:
        return as_json(self.server.session.map_points())

    def _said(self, said: dict[str, Any]) -> Answer:
        message = self.server.session.answer(
            str(said["tab"]), int(said["row"]), str(said["kind"]), str(said.get("label", "")),
            id=str(said["id"]), seconds=float(said.get("seconds", 0)),
        )  # fmt: skip
        return as_json({**self._clip(str(said["tab"])), "message": message})

    def _undo(self, said: dict[str, Any]) -> Answer:
        row = self.server.session.undo(str(said["tab"]))
        message = "There is nothing to undo." if row is None else ""
        return as_json({**self._clip(str(said["tab"])), "message": message})

    def _class(self, said: dict[str, Any]) -> Answer:
        name = self.server.session.add_class(str(said["name"]))
        return as_json({"name": name, "state": self.server.session.state()})

    def _clip(self, tab: str) -> dict[str, Any]:
        session = self.server.session
        row = session.next(tab)
        clip = None
        if row is not None:
            file, start_s, end_s = session.clips[row]
            date = str(session.index["date"].iloc[row])
            hidden = self.server.hide_names
            stretch, top_hz = self._shown(row)
            clip = {
                "row": row, "file": "(recording hidden)" if hidden else file, "start_s": start_s,
                "end_s": end_s, "date": "" if hidden else date, "stretch": stretch,
                "top_hz": top_hz,
                "suggestions": [{"name": n, "p": p} for n, p in session.suggestions(row)],
            }  # fmt: skip
        return {"clip": clip, "state": session.state()}

    def _shown(self, row: int) -> tuple[tuple[float, float], float]:
        """From when to when a clip is, seconds, and the highest frequency of its recording, Hz."""
        from preprocessing.audio import info

        try:
            path, start_s, end_s = self.server.session.audio(row)
            top_hz = info(path).rate_hz / 2
        except UserError:  # the picture, which fails as well, tells it
            return (0.0, 1.0), 1.0
        return (start_s, max(end_s, start_s + LEAST_STRETCH_S)), top_hz

    def _stretch(self, query: dict[str, str]) -> tuple[Any, float, float, float, float]:
        """Recording, stretch that is shown, and the clip in it."""
        session = self.server.session
        row, zoom = int(query["row"]), float(query.get("zoom", 1))
        if not 0 <= row < len(session.clips) or not 0.125 <= zoom <= 64:
            raise Refused(404, "there is no such clip")
        path, start_s, end_s = session.audio(row)
        length = max(end_s - start_s, LEAST_STRETCH_S)
        middle, half = (start_s + end_s) / 2, length * zoom / 2
        return path, middle - half, middle + half, start_s, end_s

    def _tile(self, query: dict[str, str]) -> Answer:
        from g5.web.tiles import Mark, spectrogram_tile
        from preprocessing.audio import info

        path, low_s, high_s, start_s, end_s = self._stretch(query)
        band = min(max(float(query.get("band", 1)), 0.03), 1.0)
        if band != band:
            raise Refused(404, "there is no such band")
        top_hz = info(path).rate_hz / 2 * band
        marks = [Mark(start_s, end_s)] if high_s - low_s > 1.01 * (end_s - start_s) else []
        png = spectrogram_tile(
            path, self.server.session.store.rules, low_s, high_s, high_hz=top_hz, marks=marks,
            width=TILE[0], height=TILE[1],
        )  # fmt: skip
        return "image/png", png

    def _audio(self, query: dict[str, str]) -> Answer:
        from g5.web.tiles import AUDIO_TYPE, audio_snippet

        path, low_s, high_s, _, _ = self._stretch(query)
        return AUDIO_TYPE, audio_snippet(path, self.server.session.store.rules, low_s, high_s)
