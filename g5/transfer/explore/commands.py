"""`g5 search`, `g5 cluster`, `g5 map`: similar sounds, groups of sounds, and where they lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.errors import UserError
from g5.common.progress import track
from g5.config.nodes import read_section, refuse_foreign
from g5.embeddings.search import ApproximateIndex, novelty, search
from g5.embeddings.stretch import Stretch
from g5.embeddings.vectors import VectorStore
from g5.transfer.settings import Cluster, Map, Search, section
from g5.web.journal import UNSURE, Journal, clip_of

INDEX_FILE = "hnsw.{metric}.usearch"
SHOWN = 20  # lines printed


def similar(
    path: Path, like: Sequence[str], k: int | None, out: Path | None, overrides: Sequence[str]
) -> int:
    """Print the clips most like each of ``like``, and write a table and a page of them."""
    refuse_foreign(overrides, ("search", "encoder"))
    config = read_section("search", Search, overrides)
    store = VectorStore.open(path)
    if not len(store):
        raise UserError(f"{path}: is empty, there is nothing to find")
    query_QD = np.stack([_query(store, text, overrides) for text in like])
    k = int(k or config["k"])
    if config["approximate"]:
        score_QK, row_QK = _approximate(store, config["metric"]).search(query_QD, k=k)
    else:
        score_QK, row_QK = search(store.vectors, query_QD, k=k, metric=config["metric"])
    name = "distance" if config["metric"] == "euclidean" else "similarity"
    parts = []
    for text, score_K, row_K in zip(like, score_QK, row_QK, strict=True):
        table = _results(store, row_K, score_K, name)
        table.insert(0, "query", text)
        parts.append(table)
    title = f"Like {', '.join(like)}"
    return _show(store, pd.concat(parts, ignore_index=True), name, title, config, out, "search")


def unusual(
    path: Path, labels: Path | None, k: int | None, out: Path | None, overrides: Sequence[str]
) -> int:
    """Print the clips that are farthest from everything known, or from all others."""
    config = section("search", Search, overrides)
    store = VectorStore.open(path)
    if len(store) < 3:
        raise UserError(f"{path}: has {len(store)} clips; what is unusual needs more")
    said = np.array(_labels(store, labels, np.arange(len(store))))
    known_N = (said != "") & (said != UNSURE)
    if known_N.all():
        raise UserError(f"{path}: all of its {len(store):,} clips are known, none can be unusual")
    if known_N.any():
        reference, skip_self, rank = np.flatnonzero(known_N), False, 1
        against = f"{len(reference):,} known clips"
        print(f"{len(reference):,} of {len(store):,} clips are known by their labels and left out")
    else:
        n = min(config["reference"], len(store))
        reference = np.random.default_rng(config["seed"]).choice(len(store), n, replace=False)
        skip_self, rank, against = True, config["neighbour"], f"{n:,} clips of the store"
    away_N = novelty(
        store.vectors, store.vectors[reference].astype(np.float32), k=rank, skip_self=skip_self
    )
    away_N[known_N] = -np.inf
    order = np.argsort(-away_N, kind="stable")[: min(k or config["k"], int((~known_N).sum()))]
    table = _results(store, order, away_N[order], "distance")
    title = f"Farthest from {against}"
    return _show(store, table, "distance", title, config, out, "unusual")


def _query(store: VectorStore, text: str, overrides: Sequence[str]) -> np.ndarray:
    """The vector (D,) of ``FILE`` or ``FILE:START-END``: embedded, or looked up if imported."""
    one = Stretch.parse(text)
    if store.facts.encoder_hash.startswith("imported"):
        return _stored(store, one)
    from g5.embeddings.embedding import embed_stretch
    from g5.embeddings.encoders import load_encoder

    try:
        encoder = load_encoder(store.facts.encoder, overrides)
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
    mine = ((names == one.file) | names.str.endswith("/" + one.file)).to_numpy()
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
    store: VectorStore, table: pd.DataFrame, score: str, title: str, config: dict[str, Any],
    out: Path | None, name: str,
) -> int:  # fmt: skip
    """Print a table, write it as CSV, and a page of it with pictures and sound."""
    from g5.web import page

    dull = [name for name in ("label", "date", "query") if name in table]
    dull = [name for name in dull if len(set(table[name])) == 1]
    shown = table.head(SHOWN).drop(columns=["row", *dull])
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    if len(table) > SHOWN:
        print(f"... and {len(table) - SHOWN} more")
    html = out or Path(f"{store.path.name.removesuffix('.store')}_{name}.html")
    csv = html.with_suffix(".csv")
    budget, cards, missing = page.Budget(config["page_mb"]), [], []
    rows = table.to_dict("records")
    for row in track(rows, total=len(rows), label="pictures", unit="clips"):
        label = f", {row['label']}" if row["label"] else ""
        caption = f"{row['rank']}. {score} {row[score]:.3f}{label}: {clip_name(row)}"
        try:
            png, sound = tile_and_sound(store, row, config["context"])
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
    return 0


def clip_name(row: dict[str, Any]) -> str:
    """``file 1.00 to 2.00 s``."""
    if row["end_s"] != row["end_s"]:
        return str(row["file"])
    return f"{row['file']} {row['start_s']:.2f} to {row['end_s']:.2f} s"


def tile_and_sound(
    store: VectorStore, row: dict[str, Any], context: float, *, width: int = 256, height: int = 112
) -> tuple[bytes, bytes]:
    """Spectrogram and MP3 of a clip with ``context`` of its length around it.

    Raises:
        UserError: the recording is not where the store says.
    """
    from g5.web.tiles import Mark, audio_snippet, spectrogram_tile
    from preprocessing.audio import info

    path = store.audio_path(str(row["file"]))
    start_s, end_s = float(row["start_s"]), float(row["end_s"])
    if end_s != end_s:
        end_s = info(path).duration_s
    around_s = context * (end_s - start_s)
    marks = [Mark(start_s, end_s)] if context else []
    low_s, high_s = start_s - around_s, end_s + around_s
    png = spectrogram_tile(path, low_s, high_s, marks=marks, width=width, height=height)
    return png, audio_snippet(path, max(low_s, 0.0), high_s)


def cluster(path: Path, out: Path | None, overrides: Sequence[str]) -> int:
    """Group the vectors; a CSV with a cluster for every clip, and how good the groups are."""
    from g5.transfer.explore.clusters import cluster_vectors

    config = section("cluster", Cluster, overrides)
    store = VectorStore.open(path)
    results = cluster_vectors(store.vectors, **config)
    index = store.index
    table = index[["file", "start_s", "end_s", "label"]].copy()
    labels = index["label"].astype(str).to_numpy()
    for result in results:
        table[result.method] = result.cluster_N
        print(result.text())
        agreement = result.agreement(labels)
        if agreement is not None:
            print(
                f"  against the store's labels: adjusted Rand index {agreement:.2f} (1: the same)"
            )
    out = out or Path(f"{store.path.name.removesuffix('.store')}_clusters.csv")
    with atomic_path(out) as temporary:
        table.to_csv(temporary, index=False)
    print(f"clusters of {len(table):,} clips in {out}")
    return 0


def draw_map(
    paths: Sequence[Path], labels: Path | None, out: Path | None, overrides: Sequence[str]
) -> int:
    """An interactive map of one store, or of several side by side with the same clips linked."""
    from g5.embeddings.projection import project
    from g5.transfer.explore.map_page import MapData, far_out, map_page, outside

    config = section("map", Map, overrides)
    stores = [VectorStore.open(path) for path in paths]
    rows = _common_rows(stores, config["most"], config["seed"])
    first = stores[0].index.iloc[rows[0]].reset_index(drop=True)
    names = _labels(stores[0], labels, rows[0])
    places = []
    for store, chosen in zip(stores, rows, strict=True):
        places.append(
            project(
                np.asarray(store.vectors[chosen], np.float32), method=config["method"],
                dims=config["dims"], neighbours=config["neighbours"], seed=config["seed"],
            )
        )  # fmt: skip
    titles = [store.path.name for store in stores]
    data = MapData(places, titles, first, names, config["method"])
    tiles, missing = _tiles(stores[0], first, places[0], config)
    out = out or Path(f"{stores[0].path.name.removesuffix('.store')}_map.html")
    from g5.web.page import write_page

    write_page(out, map_page(data, tiles))
    print(f"{len(first):,} clips, {len(tiles):,} of them with spectrogram and sound")
    for title, place in zip(titles, places, strict=True):
        if len(out_rows := outside(place)):
            print(f"{title}: {far_out(len(out_rows))}")
    if missing:
        print(f"{len(missing)} clips without: {missing[0]}")
    print(f"map {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return 0


def _labels(store: VectorStore, labels: Path | None, rows: np.ndarray) -> list[str]:
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
    from g5.transfer.labels import read_labels, rows_of_labels

    known, notes = rows_of_labels(store, read_labels(labels), where=str(labels))
    print(*notes, sep="\n", end="\n" if notes else "")
    return [known.get(int(row), "") for row in rows]


def _common_rows(stores: Sequence[VectorStore], most: int, seed: int) -> list[np.ndarray]:
    """Rows of the clips that all stores have, the same clip at the same place."""
    places = []
    for store in stores:
        index = store.index
        clips = zip(index["file"].astype(str), index["start_s"], index["end_s"], strict=True)
        places.append({clip_of(*clip): row for row, clip in enumerate(clips)})
    common = [clip for clip in places[0] if all(clip in place for place in places[1:])]
    if not common:
        raise UserError("the stores have no clip in common (same file, start and end)")
    if len(common) > most:
        chosen = np.random.default_rng(seed).choice(len(common), most, replace=False)
        common = [common[i] for i in np.sort(chosen)]
    return [np.array([place[clip] for clip in common]) for place in places]


def _tiles(
    store: VectorStore, index: pd.DataFrame, place_NP: np.ndarray, config: dict[str, Any]
) -> tuple[dict[int, tuple[bytes, bytes]], list[str]]:
    """Picture and sound of clips that are spread over the map, while they fit the page."""
    from g5.transfer.explore.map_page import spread
    from g5.web.page import Budget

    budget, tiles, missing = Budget(config["page_mb"]), {}, []
    chosen = spread(place_NP, min(config["tiles"], len(index)))
    records = index.to_dict("records")
    for row in track(chosen, total=len(chosen), label="pictures", unit="clips"):
        try:
            pair = tile_and_sound(store, records[row], 0.0, width=160, height=80)
        except UserError as error:
            missing.append(str(error))
            if len(missing) > 20 and not tiles:
                break  # the recordings are elsewhere
            continue
        if not budget.take(*pair):
            break
        tiles[int(row)] = pair
    return tiles, missing
