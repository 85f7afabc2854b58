"""`g5 predict`: labels or ratings of embeddings, or of recordings, by a saved head."""

import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import softmax

from g5.common.errors import UserError
from g5.common.spreadsheet import write_csv
from g5.config.settings import TransferSettings
from g5.config.stored import classes_named
from g5.embeddings.embedding import embed_recordings, find_recordings
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.vectors import VectorStore
from g5.transfer.heads.onnx_head import OUTPUT, SUFFIX, onnx_head
from g5.transfer.heads.saved import SavedHead, load_head
from g5.transfer.heads.summaries import as_events, by_file, class_columns, labelled

Rows = Literal["windows", "files", "events"]


def predict(
    head_path: Path,
    sources: Sequence[Path],
    output: Path,
    settings: TransferSettings,
    overrides: Sequence[str],
    top: int | None = None,
    rows: Rows = "windows",
) -> pd.DataFrame:
    """Labels or ratings of every vector of a store, or of recordings, as a CSV.

    ``overrides`` are the encoder's, ``encoder.key=value``, and name classes of the user's that
    the head holds or was trained with: ``head._target_=my_pkg.MyHead``.
    """
    if head_path.suffix == SUFFIX:
        head, overrides = onnx_head(head_path), [*overrides, OUTPUT]
    else:
        head = load_head(head_path, known=classes_named(overrides))
    if rows == "events" and head.task == "rating":
        raise UserError(
            f"{head_path}: a head of ratings has no events; say --rows windows or files"
        )
    index, vectors, problems = _vectors(head, sources, settings, overrides)
    if not len(index):
        raise UserError(f"{', '.join(map(str, sources))}: holds no vectors")
    out = pd.DataFrame({name: index[name].to_numpy() for name in ("file", "start_s", "end_s")})
    out["file"] = out["file"].astype(str)
    out = _in_rows(_filled(out, head, vectors), head, rows)
    if top is not None:
        order = out["rating" if head.task == "rating" else "probability"].to_numpy()
        out = out.take(np.argsort(-order, kind="stable")[:top]).reset_index(drop=True)
        out.insert(0, "rank", range(1, len(out) + 1))
    write_csv(out, output, float_format="%.6g")
    print(f"{len(out):,} {rows} of {index['file'].nunique():,} files by {head.name} in {output}")
    if problems:
        count = "1 recording is" if len(problems) == 1 else f"{len(problems)} recordings are"
        raise UserError(f"{count} not among them; the lines above say why")
    return out


def _filled(out: pd.DataFrame, head: SavedHead, vectors: np.ndarray) -> pd.DataFrame:
    """The windows with a rating, or with the probability of each class, a label and its own."""
    if head.task == "rating":
        return out.assign(rating=head.model.predict(vectors))
    if hasattr(head.model, "predict_proba"):
        proba_NC = head.model.predict_proba(vectors)
    else:
        print("note: an SVM has no probabilities; its margins through a softmax stand for them")
        proba_NC = _margins(head.model, vectors)
    columns = {f"p_{name}": proba_NC[:, column] for column, name in enumerate(head.labels)}
    return labelled(out.assign(**columns), head.task)


def _in_rows(windows: pd.DataFrame, head: SavedHead, rows: Rows) -> pd.DataFrame:
    """The predictions in the rows that were asked for."""
    out = windows
    if rows == "events":
        return as_events(windows, head.task)
    if rows == "files":
        out = by_file(windows, head.task)
    if head.task == "rating":
        return out
    # Of one label only its own probability is shown.
    shown = class_columns(out) if head.task == "multi" else []
    kept = [name for name in out.columns if not name.startswith("p_")]
    kept = [name for name in kept if name not in ("label", "probability")]
    return out.loc[:, [*kept, "label", *shown, "probability"]]


def _margins(model: Any, vectors: np.ndarray) -> np.ndarray:
    scores_NC = model.decision_function(vectors)
    if scores_NC.ndim == 1:
        scores_NC = np.stack([-scores_NC, scores_NC], axis=1) / 2
    return softmax(scores_NC, axis=1)


def _vectors(
    head: SavedHead, sources: Sequence[Path], settings: TransferSettings, overrides: Sequence[str]
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    if len(sources) == 1 and (sources[0] / "settings.json").is_file():
        store = VectorStore.open(sources[0])
        head.check(store)
        return store.index, np.asarray(store.vectors, dtype=np.float32), []
    root, files = find_recordings(sources)
    encoder = head.load_encoder(overrides)
    again = partial(load_encoder, head.encoder.encoder, overrides, from_file=True)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        store = VectorStore.create(Path(folder) / "predict.store", encoder.facts(), audio_root=root)
        _, problems = embed_recordings(
            encoder, store, files, root, settings.embed, settings.audio, settings.engine, again
        )
        for line in problems:
            print(f"left out: {line}")
        return store.index, np.asarray(store.vectors, dtype=np.float32), problems
