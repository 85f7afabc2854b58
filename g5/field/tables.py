"""A season in tables: calls beside effort, by hour, day, week, hour of day and recorder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.spreadsheet import guarded
from g5.detection.review.estimate import Precision
from g5.field.season import Season

PLACE = ["site", "recorder"]
EFFORT = ["recorded_min", "analysed_min"]


def by(
    keys: Sequence[str], effort: pd.DataFrame, counts: pd.DataFrame, labels: Sequence[str],
    precisions: Mapping[str, Precision] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Calls, effort and calls per analysed hour for every label and what has effort or calls.

    Args:
        keys: columns of both tables.
        effort: of `Season.effort`; counts: of `Season.counts`.
        labels: all that were looked for: no call is a 0, too.
        precisions: of labels that were reviewed; calls are then corrected by them.
    """
    keys = list(keys)
    spent = pd.DataFrame(effort.groupby(keys, as_index=False, sort=True)[EFFORT].sum())
    table = spent.merge(pd.DataFrame({"label": list(labels)}, dtype=object), how="cross")
    called = counts.groupby([*keys, "label"], as_index=False)[["calls", "own"]].sum()
    table = table.merge(pd.DataFrame(called), how="outer", on=[*keys, "label"])
    table = table.fillna({**dict.fromkeys(EFFORT, 0.0), "calls": 0, "own": 0})
    order = [*keys, "label", *EFFORT, "calls", "own"]
    table = table.astype({"calls": int, "own": int}).loc[:, order]
    hours = table["analysed_min"].to_numpy(float) / 60
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(hours > 0, table["calls"].to_numpy() / hours, np.nan)
    table["calls_per_hour"] = rate
    return corrected(table, precisions or {}).drop(columns="own")


def corrected(table: pd.DataFrame, precisions: Mapping[str, Precision]) -> pd.DataFrame:
    """With columns of how many of the calls are some, where a label was reviewed.

    The share that holds of all events is taken to hold of every part; those of the support are
    calls.
    """
    if not precisions:
        return table
    own, calls = table["own"].to_numpy(float), table["calls"].to_numpy(float)
    for column, part in (("true_calls", "share"), ("true_low", "low"), ("true_high", "high")):
        share = [getattr(precisions.get(label), part, np.nan) for label in table["label"]]
        table[column] = own + (calls - own) * np.array(share, float)
    return table


def of_recorders(season: Season, precisions: Mapping[str, Precision]) -> pd.DataFrame:
    """Every recorder: its recordings, those without a start, effort, calls, the first and last."""
    table, done = season.recordings, season.recordings["status"] == "done"
    minutes = table["duration_s"].fillna(0) / 60
    dated = table["start_local"].notna()
    each = table.loc[:, PLACE].assign(
        recordings=1, undated=(~dated).astype(int), recorded_min=minutes,
        analysed_min=minutes.where(done, 0.0), undated_min=minutes.where(~dated, 0.0),
    )  # fmt: skip
    whole = pd.DataFrame(each.groupby(PLACE, as_index=False, sort=True).sum())
    names = season.recordings.loc[:, PLACE].iloc[season.events["recording"].to_numpy()]
    events = season.events.loc[:, ["label", "own", "local"]].assign(
        **{name: names[name].to_numpy(object) for name in PLACE}
    )
    found = events.groupby([*PLACE, "label"], as_index=False).agg(
        calls=("own", "size"), own=("own", "sum"),
        first_call=("local", "min"), last_call=("local", "max"),
    )  # fmt: skip
    rows = whole.merge(pd.DataFrame({"label": season.labels}, dtype=object), how="cross")
    rows = rows.merge(found, how="left", on=[*PLACE, "label"]).fillna({"calls": 0, "own": 0})
    rows = rows.astype({"calls": int, "own": int})
    hours = rows["analysed_min"].to_numpy(float) / 60
    rows["calls_per_hour"] = np.where(hours > 0, rows["calls"] / np.maximum(hours, 1e-9), np.nan)
    return corrected(rows, precisions).drop(columns="own")


def write_both(table: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Write ``name.csv``, its texts guarded and NA for what is not known, and ``.parquet``."""
    safe = table.copy()
    for column in table.columns[[kind.kind not in "biufM" for kind in table.dtypes]]:
        codes, texts = pd.factorize(table[column])
        plain = np.array([guarded(str(text)) for text in texts], object)
        safe[column] = plain[codes] if len(table) else table[column]
    for column in table.select_dtypes("datetime"):
        form = "%Y-%m-%d" if column in ("date", "week") else "%Y-%m-%d %H:%M:%S"
        codes, moments = pd.factorize(table[column])
        texts = np.array([*pd.DatetimeIndex(moments).strftime(form), None], object)
        safe[column] = texts[codes]
    for column in table.select_dtypes("float"):
        safe[column] = table[column].round(4)
    paths = [folder / f"{name}.csv", folder / f"{name}.parquet"]
    with atomic_path(paths[0]) as temporary:
        safe.to_csv(temporary, index=False, na_rep="NA")
    with atomic_path(paths[1]) as temporary:
        table.to_parquet(temporary, index=False)
    return paths
