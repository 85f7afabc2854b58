"""`g5 map`: where the clips of one or several stores lie, as an interactive page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.progress import track
from g5.common.words import counted
from g5.config.schema import MapSettings
from g5.embeddings.projection import has_umap, project
from g5.embeddings.vectors import VectorStore
from g5.transfer.explore.clips import beside, clip_labels, tile_and_sound
from g5.transfer.explore.map_page import MapData, far_out, map_page, outside, spread
from g5.web.journal import clip_of
from g5.web.page import Budget, write_page
from preprocessing.audio_rules import AudioRules


def draw_map(
    paths: Sequence[Path], labels: Path | None, out: Path | None, settings: MapSettings, rules:
    AudioRules, columns: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """An interactive map of one store, or of several side by side with the same clips linked."""
    stores = [VectorStore.open(path, rules) for path in paths]
    rows = _common_rows(stores, settings.most, settings.seed)
    first = stores[0].index.iloc[rows[0]].reset_index(drop=True)
    names = clip_labels(stores[0], labels, rows[0], columns)
    best = "umap" if has_umap() else "tsne"
    method = best if settings.method == "auto" else settings.method
    places = []
    for store, chosen in zip(stores, rows, strict=True):
        places.append(
            project(
                np.asarray(store.vectors[chosen], np.float32), method=method,
                dims=settings.dims, neighbours=settings.neighbours, seed=settings.seed,
            )
        )  # fmt: skip
    titles = [f"{store.path.name} ({store.facts.encoder})" for store in stores]
    data = MapData(places, titles, first, names, method)
    bare_mb = len(map_page(data, {})) / 1e6
    tiles, missing = _tiles(stores[0], first, places[0], settings, settings.page_mb - bare_mb)
    out = out or beside(stores[0], "map.html")
    write_page(out, map_page(data, tiles))
    print(f"{counted(len(first), 'clip')}, {len(tiles):,} of them with spectrogram and sound")
    for title, place in zip(titles, places, strict=True):
        if len(out_rows := outside(place)):
            print(f"{title}: {far_out(len(out_rows))}")
    if missing:
        print(f"{counted(len(missing), 'clip')} without: {missing[0]}")
    print(f"map {out} ({out.stat().st_size / 1e6:.1f} MB)")


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
    store: VectorStore, index: pd.DataFrame, place_NP: np.ndarray, settings: MapSettings,
    room_mb: float,
) -> tuple[dict[int, tuple[bytes, bytes]], list[str]]:  # fmt: skip
    """Picture and sound of clips that are spread over the map, while they fit the page."""
    budget, tiles, missing = Budget(room_mb), {}, []
    chosen = spread(place_NP, min(settings.tiles, len(index)))
    records = index.to_dict("records")
    for row in track(chosen, total=len(chosen), label="pictures", unit="clips"):
        try:
            pair = tile_and_sound(store, records[row], 0.0, width=160, height=80)[:2]
        except UserError as error:
            missing.append(str(error))
            if len(missing) > 20 and not tiles:
                break  # the recordings are elsewhere
            continue
        if not budget.take(*pair):
            break
        tiles[int(row)] = pair
    return tiles, missing
