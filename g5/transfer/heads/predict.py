"""`g5 predict`: labels or ratings of embeddings, or of recordings, by a saved head."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.spreadsheet import write_csv
from g5.config.schema import EmbedSettings
from g5.config.stored import classes_named
from g5.embeddings.embedding import embed_recordings, find_recordings
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.vectors import VectorStore
from g5.transfer.heads.saved import SavedHead, load_head


def predict(
    head_path: Path,
    sources: Sequence[Path],
    output: Path,
    settings: EmbedSettings,
    overrides: Sequence[str],
    top: int | None = None,
) -> pd.DataFrame:
    """Labels or ratings of every vector of a store, or of recordings, as a CSV.

    ``overrides`` are the encoder's, ``encoder.key=value``, and name classes of the user's that
    the head holds or was trained with: ``head._target_=my_pkg.MyHead``.
    """
    head = load_head(head_path, known=classes_named(overrides))
    index, vectors, problems = _vectors(head, sources, settings, overrides)
    if not len(index):
        raise UserError(f"{', '.join(map(str, sources))}: holds no vectors")
    out = pd.DataFrame({name: index[name].to_numpy() for name in ("file", "start_s", "end_s")})
    out["file"] = out["file"].astype(str)
    order = _fill(out, head, vectors)
    if top is not None:
        out = out.take(np.argsort(-order, kind="stable")[:top]).reset_index(drop=True)
        out.insert(0, "rank", range(1, len(out) + 1))
    write_csv(out, output, float_format="%.6g")
    print(f"{len(out):,} predictions by {head.name} in {output}")
    if problems:
        count = "1 recording is" if len(problems) == 1 else f"{len(problems)} recordings are"
        raise UserError(f"{count} not among them; the lines above say why")
    return out


def _fill(out: pd.DataFrame, head: SavedHead, vectors: np.ndarray) -> np.ndarray:
    """Add the columns of predictions; what `--top` ranks by."""
    if head.task == "rating":
        out["rating"] = head.model.predict(vectors)
        return out["rating"].to_numpy()
    if hasattr(head.model, "predict_proba"):
        proba_NC = head.model.predict_proba(vectors)
    else:
        print("note: an SVM has no probabilities; its margins through a softmax stand for them")
        proba_NC = _margins(head.model, vectors)
    if head.task == "multi":
        names = np.array(head.classes)
        out["label"] = [";".join(names[row >= 0.5]) for row in proba_NC]
        for column, name in enumerate(head.classes):
            out[f"p_{name}"] = proba_NC[:, column]
    else:
        out["label"] = np.asarray(head.model.classes_)[proba_NC.argmax(axis=1)]
    out["probability"] = proba_NC.max(axis=1)
    return out["probability"].to_numpy()


def _margins(model: Any, vectors: np.ndarray) -> np.ndarray:
    scores_NC = model.decision_function(vectors)
    if scores_NC.ndim == 1:
        scores_NC = np.stack([-scores_NC, scores_NC], axis=1) / 2
    shifted = np.exp(scores_NC - scores_NC.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _vectors(
    head: SavedHead, sources: Sequence[Path], settings: EmbedSettings, overrides: Sequence[str]
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    if len(sources) == 1 and (sources[0] / "settings.json").is_file():
        store = VectorStore.open(sources[0])
        head.check(store)
        return store.index, np.asarray(store.vectors, dtype=np.float32), []
    _, files = find_recordings(sources)
    encoder = load_encoder(head.encoder.encoder, overrides, from_file=True)
    if encoder.hash() != head.encoder.encoder_hash:
        raise UserError(
            f"{head.encoder.encoder}: is not the encoder this head was trained with any more (its "
            "weights or settings differ); embed with the right one and give the store"
        )
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        root = Path(os.path.commonpath([str(file.parent) for file in files]))
        store = VectorStore.create(Path(folder) / "predict.store", encoder.facts(), audio_root=root)
        _, problems = embed_recordings(encoder, store, files, root, settings)
        for line in problems:
            print(f"left out: {line}")
        return store.index, np.asarray(store.vectors, dtype=np.float32), problems
