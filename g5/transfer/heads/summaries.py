"""Predictions of windows as one row a file, or as events."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

EVENT_COLUMNS = ["file", "start_s", "end_s", "label", "probability"]


def by_file(
    windows: pd.DataFrame, task: str, thresholds: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """One row a file: the mean rating, or the mean probabilities, of its windows.

    Where a window may have several labels, the file has those that any of its windows has.

    Args:
        windows: ``file, start_s, end_s`` and ``rating``, or a column ``p_CLASS`` for every class.
        task: of the head, ``single``, ``multi`` or ``rating``.
        thresholds: as for `labelled`.
    """
    files = windows.groupby("file", sort=False)
    span = files.agg(start_s=("start_s", "min"), end_s=("end_s", "max"), windows=("end_s", "size"))
    if task == "rating":
        return span.assign(rating=files["rating"].mean()).reset_index()
    how = "max" if task == "multi" else "mean"
    return labelled(
        span.join(files[class_columns(windows)].agg(how)).reset_index(), task, thresholds
    )


def as_events(
    windows: pd.DataFrame, task: str, thresholds: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Stretches of a file whose windows touch and say the same; ``probability`` of the surest.

    A window whose one label is below its threshold says nothing.

    Args:
        windows: as for `by_file`, with ``label`` and ``probability``.
        task: ``single`` or ``multi``, in which each label has stretches of its own.
        thresholds: of labels; 0 of one that has none.

    Returns:
        `EVENT_COLUMNS`, sorted by file and start.
    """
    rows: list[dict[str, Any]] = []
    for _, part in windows.sort_values(["file", "start_s"], kind="stable").groupby("file"):
        going: dict[str, dict[str, Any]] = {}
        for window in part.to_dict("records"):
            labels = [name for name in str(window["label"]).split(";") if name]
            if task == "single":
                name = str(window["label"])
                labels = [name] if window[f"p_{name}"] >= (thresholds or {}).get(name, 0) else []
            going = {name: row for name, row in going.items() if name in labels}
            for name in labels:
                sure = window[f"p_{name}"]
                if name in going and window["start_s"] <= going[name]["end_s"]:
                    going[name]["end_s"] = max(going[name]["end_s"], window["end_s"])
                    going[name]["probability"] = max(going[name]["probability"], sure)
                else:
                    going[name] = {**window, "label": name, "probability": sure}
                    rows.append(going[name])
    table = pd.DataFrame(rows, columns=EVENT_COLUMNS)
    return table.sort_values(["file", "start_s"], kind="stable", ignore_index=True)


def labelled(
    table: pd.DataFrame, task: str, thresholds: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """The table with ``label`` and ``probability``, of its columns ``p_CLASS``.

    Of several labels those at or above their ``thresholds``, 0.5 where there is none.
    """
    columns = class_columns(table)
    names, p_NC = np.array([name.removeprefix("p_") for name in columns]), table[columns].to_numpy()
    least_C = np.array([(thresholds or {}).get(name, 0.5) for name in names])
    several = [";".join(names[row >= least_C]) for row in p_NC]
    label = several if task == "multi" else names[p_NC.argmax(axis=1)]
    return table.assign(label=label, probability=p_NC.max(axis=1))


def best_classes(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """A row for each of the ``most`` likeliest labels of a row, with its ``place``, 1 the first."""
    columns = class_columns(table)
    names, p_NC = np.array([name.removeprefix("p_") for name in columns]), table[columns].to_numpy()
    best_NK = np.argsort(-p_NC, axis=1, kind="stable")[:, :most]
    rows = np.repeat(np.arange(len(table)), best_NK.shape[1])
    out = table.iloc[rows].reset_index(drop=True)
    place = np.tile(np.arange(1, best_NK.shape[1] + 1), len(table))
    p = p_NC[rows, best_NK.ravel()]
    return out.assign(place=place, label=names[best_NK.ravel()], probability=p)


def class_columns(table: pd.DataFrame) -> list[str]:
    """The columns that hold the probability of a class."""
    return [name for name in table.columns if name.startswith("p_")]
