"""`g5 classify`, `g5 predict`: heads on embeddings."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.config.nodes import read_section, refuse_foreign
from g5.embeddings.embedding import EmbedSettings, embed_recordings, find_recordings
from g5.embeddings.encoders import load_encoder
from g5.embeddings.vectors import VectorStore
from g5.evaluation.report.per_class import recall_figure, told
from g5.transfer.heads.compare import ClassifySettings, compare, folds_of, notes, table
from g5.transfer.heads.imbalance import effect_of_strategies
from g5.transfer.heads.saved import SUFFIX, SavedHead, fit_head, load_head, make_head, save_head
from g5.transfer.labels import examples, read_labels


def classify(
    stores: Sequence[Path],
    labels: Path,
    output: Path | None,
    overrides: Sequence[str],
    *,
    balance: bool = False,
) -> Path:
    """Compare heads on stores by cross-validation, print the table, save the best head.

    With ``balance`` show, too, what every strategy against class imbalance does to each class.
    """
    refuse_foreign(overrides, ("classify", "head"))
    settings = ClassifySettings(**read_section("classify", ClassifySettings, overrides))
    # A head of one's own, compared beside the others.
    own = [text.partition("=")[2] for text in overrides if text.startswith("head._target_=")]
    settings.heads = [*settings.heads, *own]
    overrides = [text for text in overrides if not text.startswith("head._target_=")]
    if balance and settings.task != "single":
        raise UserError(f"--balance: task={settings.task} has no single class for each example")
    opened = [VectorStore.open(path) for path in stores]
    label_table = read_labels(labels, settings.task)
    sets = [
        (path.name, examples(store, label_table, settings.task, where=str(labels)))
        for path, store in zip(stores, opened, strict=True)
    ]
    first = sets[0][1]
    for name, one in sets[1:]:
        if not np.array_equal(one.rows, first.rows):
            raise UserError(
                f"{name}: has embeddings for other labels than {sets[0][0]} ({len(one.rows)} and "
                f"{len(first.rows)}); embed the same recordings for a fair comparison"
            )
    folds = folds_of(first, settings)
    print(
        f"{len(first.y)} {_of_what(first.classes, settings.task)} from "
        f"{len(np.unique(first.groups))} sources, {len(folds)} folds that keep sources apart"
    )
    rows = compare(sets, folds, settings, overrides)
    print(table(rows, settings))
    best = rows[0]
    at = [name for name, _ in sets].index(best.store)
    onnx = [
        p.name for p, s in zip(stores, opened, strict=True) if s.facts.encoder.endswith(".onnx")
    ]
    for line in notes(sets, onnx, settings):
        print(f"note: {line}")
    path = output or stores[at].with_suffix(SUFFIX)
    one = sets[at][1]
    model = make_head(best.head, settings.task, seed=settings.seed, overrides=overrides)
    fitted = fit_head(model, one.x_ND, one.y)
    save_head(path, SavedHead(fitted, best.head, settings.task, one.classes, opened[at].facts))
    print(f"best: {best.head} on {best.store}, {best.verdict}; trained on all labels, in {path}")
    if len(rows) > 1:
        print(f"(the best of {len(rows)} on the same folds: its score flatters it a little)")
    if balance:
        effect = effect_of_strategies(best.head, one, folds, overrides, seed=settings.seed)
        _show_balance(effect, f"{best.head} on {best.store}", path)
    return path


def _show_balance(effect: pd.DataFrame, what: str, head_path: Path) -> None:
    """Recall of each class under each strategy: printed, as a CSV and as a figure."""
    title = f"What helps rare classes: {what}"
    print(f"\n{title}\nrecall of each class over the folds, the rarest first\n\n{told(effect)}\n")
    table, figure = (head_path.with_suffix(f".balance{suffix}") for suffix in (".csv", ".png"))
    with atomic_path(table) as temporary:
        effect.to_csv(temporary, index=False, float_format="%.6g")
    recall_figure(effect, figure, title=title)
    print(f"table   {table}\nfigure  {figure}")
    print("(the saved head has what head.* says: head.weights, head.class_weight, head.sampling)")


def _of_what(classes: Sequence[str], task: str) -> str:
    return "ratings" if task == "rating" else f"labels of {len(classes)} classes"


def predict(
    head_path: Path,
    sources: Sequence[Path],
    output: Path,
    overrides: Sequence[str],
    top: int | None = None,
) -> pd.DataFrame:
    """Labels or ratings of every vector of a store, or of recordings, as a CSV."""
    refuse_foreign(overrides, ("encoder", "embed"))
    head = load_head(head_path)
    index, vectors = _vectors(head, sources, overrides)
    if not len(index):
        raise UserError(f"{', '.join(map(str, sources))}: holds no vectors")
    out = pd.DataFrame({name: index[name].to_numpy() for name in ("file", "start_s", "end_s")})
    out["file"] = out["file"].astype(str)
    order = _fill(out, head, vectors)
    if top is not None:
        out = out.take(np.argsort(-order, kind="stable")[:top]).reset_index(drop=True)
        out.insert(0, "rank", range(1, len(out) + 1))
    with atomic_path(output) as temporary:
        out.to_csv(temporary, index=False, float_format="%.6g")
    print(f"{len(out):,} predictions by {head.name} in {output}")
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
    head: SavedHead, sources: Sequence[Path], overrides: Sequence[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    if len(sources) == 1 and (sources[0] / "settings.json").is_file():
        store = VectorStore.open(sources[0])
        head.check(store)
        return store.index, np.asarray(store.vectors, dtype=np.float32)
    import tempfile

    _, files = find_recordings(sources)
    encoder = load_encoder(head.encoder.encoder, overrides)
    if encoder.hash() != head.encoder.encoder_hash:
        raise UserError(
            f"{head.encoder.encoder}: is not the encoder this head was trained with any more (its "
            "weights or settings differ); embed with the right one and give the store"
        )
    settings = EmbedSettings(**read_section("embed", EmbedSettings, overrides))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        root = Path(os.path.commonpath([str(file.parent) for file in files]))
        store = VectorStore.create(Path(folder) / "predict.store", encoder.facts(), audio_root=root)
        _, problems = embed_recordings(encoder, store, files, root, settings)
        for line in problems:
            print(f"left out: {line}")
        return store.index, np.asarray(store.vectors, dtype=np.float32)
