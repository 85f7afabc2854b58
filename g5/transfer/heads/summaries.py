"""Predictions of windows as one row a file, or as events."""

from typing import Any

import numpy as np
import pandas as pd

EVENT_COLUMNS = ["file", "start_s", "end_s", "label", "probability"]


def by_file(windows: pd.DataFrame, task: str) -> pd.DataFrame:
    """One row a file: the mean rating, or the mean probabilities, of its windows.

    Where a window may have several labels, the file has those that any of its windows has.

    Args:
        windows: ``file, start_s, end_s`` and ``rating``, or a column ``p_CLASS`` for every class.
        task: of the head, ``single``, ``multi`` or ``rating``.
    """
    files = windows.groupby("file", sort=False)
    span = files.agg(start_s=("start_s", "min"), end_s=("end_s", "max"), windows=("end_s", "size"))
    if task == "rating":
        return span.assign(rating=files["rating"].mean()).reset_index()
    how = "max" if task == "multi" else "mean"
    return labelled(span.join(files[class_columns(windows)].agg(how)).reset_index(), task)


def as_events(windows: pd.DataFrame, task: str) -> pd.DataFrame:
    """Stretches of a file whose windows touch and say the same; ``probability`` of the surest.

    Args:
        windows: as for `by_file`, with ``label`` and ``probability``.
        task: ``single`` or ``multi``, in which each label has stretches of its own.

    Returns:
        `EVENT_COLUMNS`, sorted by file and start.
    """
    rows: list[dict[str, Any]] = []
    for _, part in windows.sort_values(["file", "start_s"], kind="stable").groupby("file"):
        going: dict[str, dict[str, Any]] = {}
        for window in part.to_dict("records"):
            labels = [name for name in str(window["label"]).split(";") if name]
            labels = labels if task == "multi" else [str(window["label"])]
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


def labelled(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """The table with ``label`` and ``probability``, of its columns ``p_CLASS``."""
    columns = class_columns(table)
    names, p_NC = np.array([name.removeprefix("p_") for name in columns]), table[columns].to_numpy()
    several = [";".join(names[row >= 0.5]) for row in p_NC]
    label = several if task == "multi" else names[p_NC.argmax(axis=1)]
    return table.assign(label=label, probability=p_NC.max(axis=1))


def class_columns(table: pd.DataFrame) -> list[str]:
    """The columns that hold the probability of a class."""
    return [name for name in table.columns if name.startswith("p_")]
