"""`g5 search`: sounds like one, or unlike all that is known, as a table and a page."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.progress import track
from g5.common.spreadsheet import write_csv
from g5.common.words import counted
from g5.config.schema import SearchSettings
from g5.embeddings.embedding import embed_stretch
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.search import ApproximateIndex, novelty, search
from g5.embeddings.stretch import Stretch
from g5.embeddings.vectors import VectorStore
from g5.transfer.explore.clips import beside, clip_labels, clip_name, tile_and_sound
from g5.web import page
from g5.web.journal import UNSURE
from preprocessing.audio import content_hash
from preprocessing.audio_rules import AudioRules
from preprocessing.naming import Listing

INDEX_FILE = "hnsw.{metric}.usearch"
SHOWN = 20  # lines printed


def find(
    path: Path, like: Sequence[str], labels: Path | None, k: int | None, out: Path | None,
    settings: SearchSettings, rules: AudioRules, overrides: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Clips like each of ``like``, or where that is empty those unlike all that is known.

    Args:
        path: of the store.
        like: clips, FILE or FILE:START-END.
        labels: a table of what is known; None: what is labelled in the store.
        k: results; None: ``settings.k``.
        out: the page; None: beside the store's name here.
        settings: of the search.
        rules: how recordings are read.
        overrides: the encoder's, ``encoder.key=value``, which embeds ``like``.
        columns: of ``labels`` (`read_labels`).
    """
    if like:
        _similar(VectorStore.open(path, rules), like, k, out, settings, overrides)
    else:
        _unusual(VectorStore.open(path, rules), labels, k, out, settings, columns)


def _similar(
    store: VectorStore, like: Sequence[str], k: int | None, out: Path | None,
    settings: SearchSettings, overrides: Sequence[str],
) -> None:  # fmt: skip
    """Print the clips most like each of ``like``, and write a table and a page of them."""
    if not len(store):
        raise UserError(f"{store.path}: is empty, there is nothing to find")
    queries = [_query(store, Stretch.parse(text), overrides) for text in like]
    query_QD, k = np.stack([query.vector_D for query in queries]), int(k or settings.k)
    more = k + max(len(query.own_R) for query in queries)
    if settings.approximate:
        score_QK, row_QK = _approximate(store, settings.metric).search(query_QD, k=more)
    else:
        score_QK, row_QK = search(store.vectors, query_QD, k=more, metric=settings.metric)
    name = "distance" if settings.metric == "euclidean" else "similarity"
    parts = []
    for query, score_K, row_K in zip(queries, score_QK, row_QK, strict=True):
        found_K = ~np.isin(row_K, query.own_R)
        table = _results(store, row_K[found_K][:k], score_K[found_K][:k], name)
        table.insert(0, "query", query.clip["text"])
        parts.append(table)
        own = f" (its own clips in the store, {len(query.own_R)}, are no finds)"
        print(f"query {query.clip['text']}{own if len(query.own_R) else ''}")
    found = pd.concat(parts, ignore_index=True)
    if found.empty:
        raise UserError(f"{store.path}: has no clips but the query's own")
    asked = [query.clip for query in queries]
    _show(store, found, name, f"Like {', '.join(like)}", settings, out, "search", asked)


def _unusual(
    store: VectorStore, labels: Path | None, k: int | None, out: Path | None, settings:
    SearchSettings, columns: Mapping[str, str] | None,
) -> None:  # fmt: skip
    """Print the clips that are farthest from everything known, or from all others."""
    if len(store) < 3:
        count = counted(len(store), "clip")
        raise UserError(f"{store.path}: has {count}; what is unusual needs more")
    said = np.array(clip_labels(store, labels, np.arange(len(store)), columns))
    known_N = (said != "") & (said != UNSURE)
    if known_N.all():
        raise UserError(
            f"{store.path}: all of its {len(store):,} clips are known, none can be unusual"
        )
    if known_N.any():
        reference, skip_self, rank = np.flatnonzero(known_N), False, 1
        against = f"{len(reference):,} known clips"
        print(
            f"{len(reference):,} of {counted(len(store), 'clip')} are known by their labels and "
            "left out"
        )
    else:
        n = min(settings.reference, len(store))
        reference = np.random.default_rng(settings.seed).choice(len(store), n, replace=False)
        skip_self, rank, against = True, settings.neighbour, f"{counted(n, 'clip')} of the store"
    away_N = novelty(
        store.vectors, store.vectors[reference].astype(np.float32), k=rank, skip_self=skip_self
    )
    away_N[known_N] = -np.inf
    order = np.argsort(-away_N, kind="stable")[: min(k or settings.k, int((~known_N).sum()))]
    table = _results(store, order, away_N[order], "distance")
    title = f"Farthest from {against}"
    _show(store, table, "distance", title, settings, out, "unusual")


@dataclass(frozen=True)
class _Query:
    """What is looked for: its vector, the rows of the store that hold some of it, and its clip."""

    vector_D: np.ndarray
    own_R: np.ndarray
    clip: dict[str, Any]


def _query(store: VectorStore, one: Stretch, overrides: Sequence[str]) -> _Query:
    """What ``FILE`` or ``FILE:START-END`` means: embedded, or looked up if imported."""
    if store.facts.encoder_hash.startswith("imported"):
        names = _named(store, one)
        own_R = _own(store, one, names)
        if not len(own_R):
            raise UserError(
                f"--like {one.text}: is no clip of {store.path}, whose vectors were imported: what "
                "made them is not here to embed anything else"
            )
        file, vector_D = names[0], store.vectors[own_R].astype(np.float32).mean(axis=0)
    else:
        if not os.path.exists(one.file) and (names := _named(store, one)):
            one = replace(one, file=str(store.audio_path(names[0])))
        vector_D = _embedded(store, one, overrides)
        sha256 = content_hash(one.file)[:32]
        names = [key.partition(":")[2] for key in store.keys if key.startswith(sha256)]
        file, own_R = os.path.abspath(one.file), _own(store, one, names)
    clip = {"file": file, "start_s": one.start_s, "end_s": one.end_s or np.nan, "text": one.text}
    if os.path.exists(one.file):
        clip["sound"] = Path(one.file)
    return _Query(vector_D, own_R, clip)


def _own(store: VectorStore, one: Stretch, names: Sequence[str]) -> np.ndarray:
    """The rows of recordings of these names that hold some of a stretch."""
    index = store.index
    mine = index["file"].astype(str).isin(names).to_numpy()
    if one.end_s is not None:
        ends = index["end_s"].fillna(np.inf).to_numpy()
        mine = mine & (index["start_s"].to_numpy() < one.end_s) & (ends > one.start_s)
    return np.flatnonzero(mine)


def _named(store: VectorStore, one: Stretch) -> list[str]:
    names = store.index["file"].astype(str).unique()
    found = [one.file] if one.file in names else Listing(names).find(one.file)
    if len(found) > 1:
        raise UserError(
            f"--like {one.text}: may be {' or '.join(sorted(found)[:2])} of {store.path}; write "
            "more of its path"
        )
    return found


def _embedded(store: VectorStore, one: Stretch, overrides: Sequence[str]) -> np.ndarray:
    """The vector (D,) that the store's own encoder gives."""
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
    return embed_stretch(encoder, one.file, one.start_s, one.end_s, store.rules)


def _approximate(store: VectorStore, metric: Any) -> ApproximateIndex:
    """The index beside the store, made or brought up to date."""
    file = store.path / INDEX_FILE.format(metric=metric)
    index = ApproximateIndex(width=store.facts.embedding_dim, metric=metric)
    if file.exists() and not index.load(file):
        print(f"note: {file} is damaged, or of an earlier g5; it is made again", file=sys.stderr)
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
    out: Path | None, name: str, asked: Sequence[dict[str, Any]] = (),
) -> None:  # fmt: skip
    """Print a table, write it as CSV, and a page of it, after what was asked, to see and hear."""
    dull = [name for name in ("label", "date", "query") if name in table]
    dull = [name for name in dull if len(set(table[name])) == 1]
    shown = table.head(SHOWN).drop(columns=["row", *dull])
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    if len(table) > SHOWN:
        print(f"... and {len(table) - SHOWN} more")
    html = out or beside(store, f"{name}.html")
    csv = html.with_suffix(".csv")
    budget, cards, missing = page.Budget(settings.page_mb), [], []
    captions = [f"Query: {row['text']}" for row in asked]
    for row in table.to_dict("records"):
        label = f", {row['label']}" if row["label"] else ""
        captions.append(f"{row['rank']}. {score} {row[score]:.3f}{label}: {clip_name(row)}")
    rows = [*asked, *table.to_dict("records")]
    kinds = [*("asked" for _ in asked), *("" for _ in table.index)]
    triples = zip(rows, captions, kinds, strict=True)
    for row, caption, kind in track(triples, total=len(rows), label="pictures", unit="clips"):
        try:
            png, sound, axes = tile_and_sound(store, row, settings.context)
        except UserError as error:
            missing.append(str(error))
            nothing = page.paragraph("no sound found", "soft")
            cards.append(page.card(caption, nothing, kind=kind))
            continue
        fits = budget.take(png, sound)
        tile = page.sound_tile(png, caption, sound, axes) if fits else caption
        cards.append(page.card(tile, kind=kind))
    content = page.page(
        title, f"{counted(len(table), 'clip')} of {store.path.name}; the encoder is "
               f"{store.facts.encoder}.",
        page.grid(*cards),
    )  # fmt: skip
    page.write_page(html, content)
    write_csv(table, csv)
    if missing:
        print(f"{counted(len(missing), 'clip')} without picture and sound: {missing[0]}")
    print(f"\npage  {html}\ntable {csv}")
