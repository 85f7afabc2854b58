"""Which events of a table are cut: all, the best of each label, or a sample over score and site."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

# Columns that say where a recorder stood, in order.
SITES = ("site", "recorder", "deployment", "location", "source")


def site_of(events: Any) -> Any:
    """Where each event was recorded; "" where the table does not say."""
    names = {str(name).casefold(): name for name in events.columns}
    column = next((names[site] for site in SITES if site in names), None)
    return pd.Series("", events.index) if column is None else events[column].astype(str)


def best(events: pd.DataFrame, count: int) -> pd.DataFrame:
    """The ``count`` events of each label with the highest score, in the order of the table."""
    order = events.sort_values("score", ascending=False, kind="stable", na_position="last")
    return order.groupby("label", sort=False).head(count).sort_index()


def sampled(events: pd.DataFrame, count: int, *, bins: int, seed: int) -> pd.DataFrame:
    """A random sample of ``count`` events of each label, as even as can be over score and site.

    Each label's events are parted by site and, by quantiles, into ``bins`` of the score. Strata
    take turns until the sample is full, so that rare ones are in it.

    Returns:
        The events in the order of the table with a column ``weight``: how many events of its label,
        site and scores each stands for.
    """
    rng = np.random.default_rng(seed)
    sites, parts = site_of(events), []
    for _, rows in events.groupby("label", sort=True):
        strata: dict[Hashable, list[int]] = {}
        scores = _bins(rows, bins)
        for at in rng.permutation(len(rows)):
            strata.setdefault((sites[rows.index[at]], scores[at]), []).append(at)
        turns = [
            (turn, rng.random(), at) for part in strata.values() for turn, at in enumerate(part)
        ]
        chosen = {at for *_, at in sorted(turns)[:count]}
        for part in strata.values():
            drawn = [at for at in part if at in chosen]
            if drawn:
                parts.append(rows.iloc[drawn].assign(weight=len(part) / len(drawn)))
    return pd.concat(parts).sort_index() if parts else events.assign(weight=1.0)


def _bins(rows: Any, bins: int) -> np.ndarray:
    if "score" not in rows or rows["score"].isna().all():
        return np.zeros(len(rows), np.int64)
    rank = rows["score"].rank(method="first", na_option="bottom").to_numpy(float) - 1
    return (rank * bins // len(rows)).astype(np.int64)
