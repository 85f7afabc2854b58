"""Maps of embeddings in two dimensions, by class beside by source: what was learned?

Where clips lie together by class, classes were learned; where they lie together by source
(recording, site, individual), it was the recordings that were told apart.

Shapes: P clips, D embedding width, C classes or sources.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from g5.common.errors import UserError
from g5.embeddings.projection import METHODS, Method, frame, project
from g5.evaluation.figures.style import COLORS, GREY, MARKERS, drawing, short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEIGHBOURS = {"pca": 1, "tsne": 30, "umap": 15}  # t-SNE's perplexity
LEGEND = 21  # groups, above which names stand in the map where there is room
MOST_CLIPS = 1000  # of a map: more only cover each other, and t-SNE takes its time


def embedding_map(
    z_PD: np.ndarray,
    labels_P: Sequence[str],
    sources_P: Sequence[str],
    path: Path,
    *,
    method: Method,
    seed: int,
    most: int = MOST_CLIPS,
) -> Path:
    """Draw the same map twice: coloured by class, and by source.

    Args:
        z_PD: embeddings.
        labels_P, sources_P: of each clip.
        method: ``"pca"``, ``"tsne"`` (van der Maaten and Hinton 2008), or ``"umap"`` (McInnes et
            al. 2018), for which umap-learn must be installed.
        seed: of the map and of which clips are drawn.
        most: clips that are drawn, chosen at random.

    Raises:
        UserError: fewer than three clips, embeddings that are not finite, or no umap-learn.
    """
    z_PD = np.asarray(z_PD, dtype=np.float64)
    if not np.isfinite(z_PD).all():
        raise UserError(
            f"{(~np.isfinite(z_PD).all(1)).sum()} of {len(z_PD)} embeddings are NaN or infinite; "
            "training has diverged: test an earlier checkpoint"
        )
    if len(z_PD) < 3:
        raise UserError(f"a map needs at least 3 clips, here: {len(z_PD)}")
    chosen = np.random.default_rng(seed).permutation(len(z_PD))[:most]
    z_PD, labels, sources = (
        z_PD[chosen],
        np.asarray(labels_P)[chosen],
        np.asarray(sources_P)[chosen],
    )
    near = NEIGHBOURS[method]
    xy_P2 = project(z_PD, method=method, dims=2, neighbours=near, seed=seed)
    low, high = frame(xy_P2)
    far = int(((xy_P2 < low) | (xy_P2 > high)).any(axis=1).sum())
    xy_P2 = np.clip(xy_P2, low, high)
    near_P = _nearest(z_PD)
    with drawing(path, 13, 7.2) as figure:
        panels = figure.subplots(1, 2)
        for axes, groups, kind in zip(panels, (labels, sources), ("class", "source"), strict=True):
            _panel(axes, xy_P2, groups)
            axes.set_title(
                f"By {kind}: {_share_of_neighbours(groups, near_P, kind)}",
                fontsize=10,
                weight="normal",
            )
        of_all = f" of {len(labels_P):,}" if len(labels_P) > len(chosen) else ""
        edge = f", {far:,} of them farther out than the edge they are drawn at" if far else ""
        figure.suptitle(f"{METHODS[method]} of {len(chosen):,}{of_all} clips{edge}", x=0.01,
                        ha="left", weight="bold", fontsize=12)  # fmt: skip
    return path


def _nearest(z_PD: np.ndarray) -> np.ndarray:
    """(P,) the nearest other clip of each, in all dimensions."""
    square_P = (z_PD**2).sum(1)
    distance_PP = square_P[:, None] + square_P[None] - 2 * z_PD @ z_PD.T
    np.fill_diagonal(distance_PP, np.inf)
    return distance_PP.argmin(1)


def _share_of_neighbours(groups: np.ndarray, near_P: np.ndarray, kind: str) -> str:
    """How often a clip's nearest neighbour is of its group, and how often by chance."""
    names, counts = np.unique(groups, return_counts=True)
    many = {"class": "classes", "source": "sources"}[kind]
    if len(names) == len(groups):
        return f"every clip has a {kind} of its own"
    share = (groups == groups[near_P]).mean()
    chance = (counts * (counts - 1)).sum() / (len(groups) * (len(groups) - 1))
    return (
        f"{len(names)} {many}; the nearest clip is of the same {kind} for {share:.0%}\n"
        f"of clips (by chance {chance:.0%})"
    )


def _panel(axes: "Axes", xy_P2: np.ndarray, groups: np.ndarray) -> None:
    """Points with a colour and a shape for each group; its name beside or in the map."""
    names, group_P = np.unique(groups, return_inverse=True)
    alone = len(names) == len(groups)
    shown = short_names([str(name) for name in names], 22)
    size = float(np.clip(12000 / len(xy_P2), 10, 40))
    for c, name in enumerate(shown):
        at = group_P == c
        color = GREY if alone else COLORS[c % len(COLORS)]
        shape = "o" if alone else MARKERS[c // len(COLORS) % len(MARKERS)]
        axes.scatter(*xy_P2[at].T, s=size, c=color, marker=shape, linewidths=0, alpha=0.75,
                     label=name)  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.04)
    for side in axes.spines.values():
        side.set_visible(True)
        side.set_color("#D0D0D0")
    if alone:
        return
    if len(names) <= LEGEND:
        axes.legend(
            loc="upper left", bbox_to_anchor=(0, -0.01), ncols=3, fontsize=8,
            markerscale=float(np.sqrt(40 / size)), handletextpad=0.2, borderpad=0,
        )  # fmt: skip
    else:
        _names_in_map(axes, xy_P2, group_P, shown)


def _names_in_map(
    axes: "Axes", xy_P2: np.ndarray, group_P: np.ndarray, names: Sequence[str]
) -> None:
    """Names at the middle of their groups, the tightest groups first, where none covers another.

    A clip on its own is no group, and has no name.
    """
    from matplotlib.patheffects import withStroke

    middle_C2 = np.stack([np.median(xy_P2[group_P == c], axis=0) for c in range(len(names))])
    spread_C = [np.abs(xy_P2[group_P == c] - middle_C2[c]).mean() for c in range(len(names))]
    count_C = np.bincount(group_P)
    span_2 = np.ptp(xy_P2, axis=0)
    taken: list[tuple[float, float, float]] = []
    for c in np.argsort(spread_C, kind="stable"):
        if count_C[c] < 2:
            continue
        x, y = (middle_C2[c] - xy_P2.min(0)) / np.where(span_2 > 0, span_2, 1)
        half = 0.0058 * len(names[c])  # of the panel's width, in this size of letters
        if any(abs(y - b) < 0.022 and abs(x - a) < half + h for a, b, h in taken):
            continue
        taken.append((x, y, half))
        # A name at the edge grows inwards.
        side = "left" if x < half else "right" if x > 1 - half else "center"
        halo = [withStroke(linewidth=2.2, foreground="white")]
        axes.text(
            middle_C2[c, 0], middle_C2[c, 1], str(names[c]), fontsize=7, ha=side, va="center",
            clip_on=True, color="#111111", path_effects=halo,
        )  # fmt: skip
