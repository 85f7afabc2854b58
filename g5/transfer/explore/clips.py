"""What clips of a store are called, look and sound like, for tables and pages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from g5.embeddings.vectors import VectorStore
from g5.web.axis import FrequencyAxis
from g5.web.journal import Journal, clip_of


def beside(store: VectorStore, ending: str) -> Path:
    """Where a result goes unless the user says: ``birds.store`` -> ``birds_map.html``, here."""
    return Path(f"{store.path.name.removesuffix('.store')}_{ending}")


def clip_name(row: dict[str, Any]) -> str:
    """``file 1.00 to 2.00 s``."""
    if row["end_s"] != row["end_s"]:
        return str(row["file"])
    return f"{row['file']} {row['start_s']:.2f} to {row['end_s']:.2f} s"


def tile_and_sound(
    store: VectorStore, row: dict[str, Any], context: float, *, width: int = 256, height: int = 112
) -> tuple[bytes, bytes, tuple[FrequencyAxis, float]]:
    """Spectrogram and MP3 of a clip with ``context`` of its length around it, and the tile's axes.

    Args:
        row: of the store, or with ``sound``, the path of what the user named.

    Raises:
        UserError: the recording is not where the store says.
    """
    from g5.web.tiles import Mark, audio_snippet, spectrogram_tile
    from preprocessing.audio import info

    path = row.get("sound") or store.audio_path(str(row["file"]))
    header = info(path)
    start_s, end_s = float(row["start_s"]), float(row["end_s"])
    if end_s != end_s:
        end_s = header.duration_s
    around_s = context * (end_s - start_s)
    marks = [Mark(start_s, end_s)] if context else []
    low_s, high_s = start_s - around_s, end_s + around_s
    png = spectrogram_tile(
        path, store.rules, low_s, high_s, bent=True, marks=marks, width=width, height=height
    )
    axis = FrequencyAxis(0.0, header.rate_hz / 2, bent=True)
    sound = audio_snippet(path, store.rules, max(low_s, 0.0), high_s)
    return png, sound, (axis, high_s - low_s)


def clip_labels(
    store: VectorStore, labels: Path | None, rows: np.ndarray,
    columns: Mapping[str, str] | None = None,
) -> list[str]:  # fmt: skip
    """A label for each of the rows: of a table, of the labelling page, or of the store."""
    if labels is None:
        index = store.index.iloc[rows]
        given = index["label"].astype(str)
        said = Journal(store.path).entries
        if not said:
            return given.tolist()
        clips = zip(index["file"], index["start_s"], index["end_s"], strict=True)
        entries = [said.get(clip_of(*clip)) for clip in clips]
        return [e.label or e.kind if e else g for e, g in zip(entries, given, strict=True)]
    from g5.transfer.label_table import read_labels
    from g5.transfer.labels import rows_of_labels

    known, notes = rows_of_labels(store, read_labels(labels, columns=columns), where=str(labels))
    print(*notes, sep="\n", end="\n" if notes else "")
    return [known.get(int(row), "") for row in rows]
