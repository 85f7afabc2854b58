"""`g5 search`: sounds like one, or unlike all that is known, as a table and a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.common.progress import track
from g5.config.schema import SearchSettings
from g5.embeddings.embedding import embed_stretch
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.search import ApproximateIndex, novelty, search
from g5.embeddings.stretch import Stretch
from g5.embeddings.vectors import VectorStore
from g5.transfer.explore.clips import beside, clip_labels, clip_name, tile_and_sound
from g5.web import page
from g5.web.journal import UNSURE
from preprocessing.naming import Listing

INDEX_FILE = "hnsw.{metric}.usearch"
SHOWN = 20  # lines printed


def similar(
    path: Path, like: Sequence[str], k: int | None, out: Path | None, settings: SearchSettings,
    overrides: Sequence[str],
) -> None:  # fmt: skip
    """Print the clips most like each of ``like``, and write a table and a page of them.

    ``overrides`` are the encoder's, ``encoder.key=value``, which embeds what is looked for.
    """
    store = VectorStore.open(path)
    if not len(store):
        raise UserError(f"{path}: is empty, there is nothing to find")
    query_QD = np.stack([_query(store, text, overrides) for text in like])
    k = int(k or settings.k)
    if settings.approximate:
        score_QK, row_QK = _approximate(store, settings.metric).search(query_QD, k=k)
    else:
        score_QK, row_QK = search(store.vectors, query_QD, k=k, metric=settings.metric)
    name = "distance" if settings.metric == "euclidean" else "similarity"
    parts = []
    for text, score_K, row_K in zip(like, score_QK, row_QK, strict=True):
        table = _results(store, row_K, score_K, name)
        table.insert(0, "query", text)
        parts.append(table)
    title = f"Like {', '.join(like)}"
    _show(store, pd.concat(parts, ignore_index=True), name, title, settings, out, "search")


def unusual(
    path: Path, labels: Path | None, k: int | None, out: Path | None, settings: SearchSettings
) -> None:
    """Print the clips that are farthest from everything known, or from all others."""
    store = VectorStore.open(path)
    if len(store) < 3:
        raise UserError(f"{path}: has {len(store)} clips; what is unusual needs more")
    said = np.array(clip_labels(store, labels, np.arange(len(store))))
    known_N = (said != "") & (said != UNSURE)
    if known_N.all():
        raise UserError(f"{path}: all of its {len(store):,} clips are known, none can be unusual")
    if known_N.any():
        reference, skip_self, rank = np.flatnonzero(known_N), False, 1
        against = f"{len(reference):,} known clips"
        print(f"{len(reference):,} of {len(store):,} clips are known by their labels and left out")
    else:
        n = min(settings.reference, len(store))
        reference = np.random.default_rng(settings.seed).choice(len(store), n, replace=False)
        skip_self, rank, against = True, settings.neighbour, f"{n:,} clips of the store"
    away_N = novelty(
        store.vectors, store.vectors[reference].astype(np.float32), k=rank, skip_self=skip_self
    )
    away_N[known_N] = -np.inf
    order = np.argsort(-away_N, kind="stable")[: min(k or settings.k, int((~known_N).sum()))]
    table = _results(store, order, away_N[order], "distance")
    title = f"Farthest from {against}"
    _show(store, table, "distance", title, settings, out, "unusual")


def _query(store: VectorStore, text: str, overrides: Sequence[str]) -> np.ndarray:
    """The vector (D,) of ``FILE`` or ``FILE:START-END``: embedded, or looked up if imported."""
    one = Stretch.parse(text)
    if store.facts.encoder_hash.startswith("imported"):
        return _stored(store, one)
    try:
        encoder = load_encoder(store.facts.encoder, overrides, from_file=True)
    except UserError as error:
        raise UserError(
            f"{store.path}: its encoder cannot be loaded to embed {one.file} ({error})"
        ) from error
    if encoder.facts().encoder_hash != store.facts.encoder_hash:
        raise UserError(
            f"{store.path}: was made by another {store.facts.encoder} than the one that is here "
            "now; give back the file or the settings (encoder.key=value) that made it"
        )
    return embed_stretch(encoder, one.file, one.start_s, one.end_s)


def _stored(store: VectorStore, one: Stretch) -> np.ndarray:
    index = store.index
    names = index["file"].astype(str)
    found = [one.file] if one.file in set(names) else Listing(names.unique()).find(one.file)
    if len(found) > 1:
        raise UserError(
            f"--like {one.text}: may be {' or '.join(sorted(found)[:2])} of {store.path}; write "
            "more of its path"
        )
    mine = names.isin(found).to_numpy()
    if one.end_s is not None:
        ends = index["end_s"].fillna(np.inf).to_numpy()
        mine = mine & (index["start_s"].to_numpy() < one.end_s) & (ends > one.start_s)
    if not mine.any():
        raise UserError(
            f"--like {one.text}: is no clip of {store.path}, whose vectors were imported: what "
            "made them is not here to embed anything else"
        )
    return store.vectors[mine].astype(np.float32).mean(axis=0)


def _approximate(store: VectorStore, metric: Any) -> ApproximateIndex:
    """The index beside the store, made or brought up to date."""
    file = store.path / INDEX_FILE.format(metric=metric)
    index = ApproximateIndex(width=store.facts.embedding_dim, metric=metric)
    if file.exists():
        index.load(file)
    if len(index) > len(store):
        raise UserError(f"{file}: is of another store; remove it")
    if len(index) < len(store):
        index.add(store.vectors)
        index.save(file)
    return index


def _results(store: VectorStore, rows: np.ndarray, scores: np.ndarray, name: str) -> pd.DataFrame:
    part = store.index.iloc[rows]
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(rows) + 1), name: scores, "row": rows,
            **{key: part[key].to_numpy() for key in ("file", "start_s", "end_s")},
            "label": part["label"].astype(str).to_numpy(),
            "date": part["date"].astype(str).to_numpy(),
        }
    )  # fmt: skip


def _show(
    store: VectorStore, table: pd.DataFrame, score: str, title: str, settings: SearchSettings,
    out: Path | None, name: str,
) -> None:  # fmt: skip
    """Print a table, write it as CSV, and a page of it with pictures and sound."""
    dull = [name for name in ("label", "date", "query") if name in table]
    dull = [name for name in dull if len(set(table[name])) == 1]
    shown = table.head(SHOWN).drop(columns=["row", *dull])
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    if len(table) > SHOWN:
        print(f"... and {len(table) - SHOWN} more")
    html = out or beside(store, f"{name}.html")
    csv = html.with_suffix(".csv")
    budget, cards, missing = page.Budget(settings.page_mb), [], []
    rows = table.to_dict("records")
    for row in track(rows, total=len(rows), label="pictures", unit="clips"):
        label = f", {row['label']}" if row["label"] else ""
        caption = f"{row['rank']}. {score} {row[score]:.3f}{label}: {clip_name(row)}"
        try:
            png, sound = tile_and_sound(store, row, settings.context)
        except UserError as error:
            missing.append(str(error))
            cards.append(page.card(caption, page.paragraph("no sound found", "soft")))
            continue
        fits = budget.take(png, sound)
        cards.append(page.card(page.sound_tile(png, caption, sound) if fits else caption))
    content = page.page(
        title, f"{len(table)} clips of {store.path.name}; the encoder is {store.facts.encoder}.",
        page.grid(*cards),
    )  # fmt: skip
    page.write_page(html, content)
    with atomic_path(csv) as temporary:
        table.to_csv(temporary, index=False)
    if missing:
        print(f"{len(missing)} clips without picture and sound: {missing[0]}")
    print(f"\npage  {html}\ntable {csv}")
