"""`g5 label --export`: what was labelled, as annotation tables."""

from pathlib import Path

from g5.common.errors import UserError
from g5.common.words import counted
from g5.embeddings.vectors import VectorStore
from g5.web.journal import Journal
from preprocessing.annotations import write_tables
from preprocessing.audio import info


def export_labels(path: Path, format: str, out: Path) -> None:
    """Write the labels as annotation tables.

    ``audacity`` tracks are of one recording each, so ``out`` is a folder for them; so it is for
    ``raven`` tables of several recordings, whose times would else not be those of a window.
    """
    store = VectorStore.open(path)
    events = Journal(store.path).events()
    if not len(events):
        raise UserError(f"{store.path}: nothing is labelled yet; run g5 label {path}")
    if bool((events["end_s"] < 0).to_numpy().any()):
        ends = [
            info(store.audio_path(file)).duration_s if end < 0 else end
            for file, end in zip(events["file"], events["end_s"], strict=True)
        ]
        events["end_s"] = ends
    written = write_tables(events, out, format)
    if len(written) > 1:
        print(
            f"{counted(len(events), 'label')} of {counted(len(written), 'recording')} in "
            f"{written[0].parent}/"
        )
    else:
        print(f"{counted(len(events), 'label')} in {written[0]}")
