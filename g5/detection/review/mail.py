"""The review page as one file that can be mailed: what it shows lies in it."""

from pathlib import Path

from g5.common.errors import UserError
from g5.common.words import counted
from g5.detection.review.answers import COLUMNS, short_names
from g5.detection.review.page import mailed_page
from g5.detection.review.server import audio_of, event_of, tile_of
from g5.detection.review.session import ReviewSession
from g5.web.journal import STATUS
from g5.web.page import Budget, data_uri, write_page
from g5.web.tiles import AUDIO_TYPE


def write_mailed(session: ReviewSession, path: Path) -> str:
    """Write the page with the next events, as many as it may hold; what was done, in a line.

    Raises:
        UserError: no event can be shown.
    """
    settings, found = session.settings, session.found
    budget, events, broken = Budget(settings.page_mb), [], []
    names = short_names(found.events["file"])
    for row in session.drawn(settings.mailed, settings.order):
        try:
            tile, audio = tile_of(session, row), audio_of(session, row)
        except UserError as error:
            broken.append(str(error))
            continue
        if not budget.take(tile, audio):
            break
        pictures = {"tile": data_uri(tile, "image/png"), "audio": data_uri(audio, AUDIO_TYPE)}
        events.append(event_of(session, row) | pictures | {"path": names[found.clips[row][0]]})
    if not events:
        raise UserError(*broken[:1] or [f"{found.folder}: every event is answered, none is left"])
    name = found.folder.resolve().name
    content = mailed_page(
        name, events, found.species, about=found.fingerprint, by=settings.order, status=STATUS,
        columns=COLUMNS,
    )  # fmt: skip
    write_page(path, content)
    passed = f"; {len(broken)} cannot be shown ({broken[0]})" if broken else ""
    return (
        f"{counted(len(events), 'event')} in {path} ({path.stat().st_size / 1e6:.1f} MB){passed}\n"
        f"What it saves is read by g5 review {found.folder} --answers FILE"
    )
