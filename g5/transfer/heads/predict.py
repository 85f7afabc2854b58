"""`g5 predict`: labels or ratings of embeddings, or of recordings, by a saved head."""

import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.spreadsheet import write_csv
from g5.common.words import counted
from g5.config.settings import TransferSettings
from g5.config.stored import classes_named
from g5.embeddings.embedding import embed_recordings, find_recordings
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.vectors import VectorStore
from g5.transfer.heads.onnx_head import OUTPUT, SUFFIX, onnx_head
from g5.transfer.heads.saved import SavedHead, load_head
from g5.transfer.heads.summaries import (
    as_events,
    best_classes,
    by_file,
    class_columns,
    labelled,
)
from g5.transfer.heads.thresholds import probabilities

Rows = Literal["windows", "files", "events"]


def predict(
    head_path: Path,
    sources: Sequence[Path],
    output: Path,
    settings: TransferSettings,
    overrides: Sequence[str],
    top: int | None = None,
    rows: Rows | None = None,
    scores: int | None = None,
) -> pd.DataFrame:
    """Labels or ratings of every vector of a store, or of recordings, as a CSV.

    ``rows`` are events unless it is said otherwise, and windows of a rating. With ``scores`` they
    say so many of the likeliest labels, with 0 the probability of every label.

    ``overrides`` are the encoder's, ``encoder.key=value``, and name classes of the user's that
    the head holds or was trained with: ``head._target_=my_pkg.MyHead``.
    """
    if head_path.suffix == SUFFIX:
        head, overrides = onnx_head(head_path), [*overrides, OUTPUT]
    else:
        head = load_head(head_path, known=classes_named(overrides))
    asked = _rows_asked(head_path, head, rows, scores)
    index, vectors, problems = _vectors(head, sources, settings, overrides)
    if not len(index):
        raise UserError(f"{', '.join(map(str, sources))}: holds no vectors")
    out = pd.DataFrame({name: index[name].to_numpy() for name in ("file", "start_s", "end_s")})
    out["file"] = out["file"].astype(str)
    out = _in_rows(_filled(out, head, vectors), head, asked, scores)
    if top is not None:
        order = out["rating" if head.task == "rating" else "probability"].to_numpy()
        out = out.take(np.argsort(-order, kind="stable")[:top]).reset_index(drop=True)
        out.insert(0, "rank", range(1, len(out) + 1))
    write_csv(out, output, float_format="%.6g")
    files = index["file"].nunique()
    print(f"{len(out):,} {asked} of {counted(files, 'file')} by {head.name} in {output}")
    if rows is None and asked == "events":
        windows = counted(len(index), "window")
        print(f"({windows}; a row for each: --rows windows, for a file: --rows files)")
    if problems:
        left = counted(len(problems), "recording")
        raise UserError(f"{left} left out; the lines above say why")
    return out


def _filled(out: pd.DataFrame, head: SavedHead, vectors: np.ndarray) -> pd.DataFrame:
    """The windows with a rating, or with the probability of each class, a label and its own."""
    if head.task == "rating":
        return out.assign(rating=head.model.predict(vectors))
    if not hasattr(head.model, "predict_proba"):
        print("note: an SVM has no probabilities; its margins through a softmax stand for them")
    proba_NC = probabilities(head.model, vectors)
    columns = {f"p_{name}": proba_NC[:, column] for column, name in enumerate(head.labels)}
    return labelled(out.assign(**columns), head.task, head.thresholds)


def _rows_asked(path: Path, head: SavedHead, rows: Rows | None, scores: int | None) -> Rows:
    """What a row of the table is; scores of classes are told of windows, as an event has one."""
    if head.task == "rating" and (rows == "events" or scores is not None):
        raise UserError(f"{path}: a head of ratings has no events and no classes; say --rows files")
    if rows == "events" and scores is not None:
        raise UserError("--scores: an event has one label; say --rows windows or files")
    return rows or ("windows" if head.task == "rating" or scores is not None else "events")


def _in_rows(
    windows: pd.DataFrame, head: SavedHead, rows: Rows, scores: int | None
) -> pd.DataFrame:
    """The predictions in the rows that were asked for."""
    out = windows
    if rows == "events":
        return as_events(windows, head.task, head.thresholds)
    if rows == "files":
        out = by_file(windows, head.task, head.thresholds)
    if head.task == "rating":
        return out
    if scores:
        out = best_classes(out, scores)
    # Of one label only its own probability is shown, unless all are asked for.
    shown = class_columns(out) if scores == 0 or (head.task == "multi" and not scores) else []
    kept = [name for name in out.columns if not name.startswith("p_")]
    kept = [name for name in kept if name not in ("label", "probability")]
    return out.loc[:, [*kept, "label", *shown, "probability"]]


def _vectors(
    head: SavedHead, sources: Sequence[Path], settings: TransferSettings, overrides: Sequence[str]
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    if len(sources) == 1 and (sources[0] / "settings.json").is_file():
        store = VectorStore.open(sources[0])
        head.check(store)
        if head.of_windows and head.encoder.front_end:
            print(
                f"note: {sources[0]}: was embedded from whole recordings, and this head was "
                "trained on windows heard alone; of recordings, g5 predict hears those"
            )
        return store.index, np.asarray(store.vectors, dtype=np.float32), []
    root, files = find_recordings(sources)
    encoder = head.load_encoder(overrides)
    again = partial(load_encoder, head.encoder.encoder, overrides, from_file=True)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        store = VectorStore.create(Path(folder) / "predict.store", encoder.facts(), audio_root=root)
        _, problems = embed_recordings(
            encoder, store, files, root, settings.embed, settings.audio, settings.engine, again,
            alone=head.of_windows,
        )  # fmt: skip
        for line in problems:
            print(f"left out: {line}")
        return store.index, np.asarray(store.vectors, dtype=np.float32), problems
