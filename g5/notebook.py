"""Detection, embeddings and scores as functions: `g5.detect`, `g5.embed`, `g5.evaluate`."""

import io
import os
import tempfile
import warnings
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd

from g5.config.settings import load_transfer
from g5.detection.job.request import DetectionRequest, detection_settings
from g5.detection.job.run import detect as run_detection
from g5.embeddings.embedding import embed_recordings, find_recordings
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.vectors import VectorStore
from g5.evaluation.events.ground_truth import (
    PREDICTIONS,
    read_candidates,
    read_ledger,
    read_predictions,
    read_truth,
)
from g5.evaluation.events.report import evaluate_events

AnyPath = str | os.PathLike[str]
Events = AnyPath | pd.DataFrame


def detect(
    recordings: AnyPath,
    support: Events,
    *overrides: str,
    encoder: str = "default",
    out: AnyPath | None = None,
) -> pd.DataFrame:
    """Find every call like a few marked ones, as `g5 detect` does.

    Args:
        recordings: a recording, or a folder of them.
        support: the marked calls: a table of any format that g5 reads, or a data frame with
            ``start_s``, ``end_s`` (seconds), perhaps ``label``, and ``file`` (by default
            ``recordings``).
        overrides: keys, such as ``"detection.threshold=0.3"``.
        encoder: a checkpoint, an ONNX or TFLite file, a name that `g5 encoders` lists, or the
            import path of a class.
        out: folder in which tables, pictures and the page are kept; None: nowhere.

    Returns:
        One row an event, sorted by file and time: ``file, start_s, end_s, label, score``, and
        ``support``, which is true of the marked calls themselves.

    Raises:
        UserError: something given is wrong; its text says what to do.

    A recording that cannot be read is left out with a warning.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary if out is None else out)
        marked = _as_table(support, Path(temporary) / "marked.csv", recordings)
        quiet = ["detection.pictures=false"] if out is None else []
        request = DetectionRequest(
            encoder, Path(recordings), marked, folder, overrides=tuple(overrides)
        )
        with redirect_stdout(io.StringIO()):
            run_detection(request, detection_settings([*quiet, *overrides]))
        _warn_of(folder)
        return pd.read_csv(folder / PREDICTIONS, keep_default_na=False, dtype={"label": str})


def embed(
    recordings: AnyPath | Iterable[AnyPath], *overrides: str, encoder: str = "default"
) -> tuple[np.ndarray, pd.DataFrame]:
    """Embed recordings window by window, as `g5 embed` does.

    Args:
        recordings: a recording, a folder of them, or several of either.
        overrides: keys, such as ``"embed.hop_s=0.5"``.
        encoder: as in `detect`.

    Returns:
        Vectors (windows, embedding_dim) float32, and a table with a row for each: ``file``,
        ``start_s``, ``end_s``.

    Raises:
        UserError: something given is wrong, or no recording could be read.

    A recording that cannot be read is left out with a warning.
    """
    paths = [recordings] if isinstance(recordings, str | os.PathLike) else list(recordings)
    settings = load_transfer(overrides, reads=("encoder", "embed"))
    root, files = find_recordings(paths)
    loaded = load_encoder(encoder, overrides)
    with tempfile.TemporaryDirectory() as temporary:
        store = VectorStore.create(Path(temporary) / "store", loaded.facts(), audio_root=root)
        _, problems = embed_recordings(loaded, store, files, root, settings.embed, settings.audio)
        vectors = np.array(store.vectors[np.arange(len(store))], np.float32)
        windows = store.index.filter(["file", "start_s", "end_s"]).reset_index(drop=True)
    for problem in problems:
        warnings.warn(f"left out: {problem}", stacklevel=2)
    return vectors, windows.astype({"file": str})


def evaluate(predictions: Events, truth: AnyPath, mode: str = "fair") -> pd.DataFrame:
    """Score events as DCASE Task 5 does, as `g5 evaluate`.

    Args:
        predictions: a table of any format that g5 reads, or what `detect` returned.
        truth: a table of all calls, or a folder of tables, whose sub-folders are its subsets.
        mode: "fair" or "official", the row that comes first.

    Returns:
        A row a mode: ``precision``, ``recall``, ``F`` (shares of 1), ``95 % of F`` over
        recordings, and ``oracle gap``.

    Raises:
        UserError: a table cannot be read.

    What is odd about the tables is warned of.
    """
    with tempfile.TemporaryDirectory() as temporary:
        table = _as_table(predictions, Path(temporary) / "given.csv")
        known, problems = read_truth(Path(truth))
        events, found = read_predictions(table, known)
        candidates = read_candidates(table, known)  # a data frame has none beside it
    for problem in (*problems, *found):
        warnings.warn(str(problem), stacklevel=2)
    result = evaluate_events(events, known, mode=mode, candidates=candidates)
    return result.mode_table().set_index("mode")


def _as_table(events: Events, path: Path, recording: AnyPath | None = None) -> Path:
    """The table's path; a data frame is written to ``path``."""
    if not isinstance(events, pd.DataFrame):
        return Path(events)
    given = {} if recording is None or "file" in events else {"file": os.fspath(recording)}
    events.assign(**given).to_csv(path, index=False)
    return path


def _warn_of(folder: Path) -> None:
    for row in read_ledger(folder).to_dict("records"):
        if row["status"] != "done":
            warnings.warn(f"{row['file']}: {row['status']}, {row['reason']}", stacklevel=3)
