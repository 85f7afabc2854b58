"""Detection histories: sites by occasions, for unmarked and spOccupancy (docs/season.md)."""

from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.spreadsheet import guarded


def matrices(
    days: pd.DataFrame, labels: list[str], occasion: int
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Minutes analysed, and by label the calls, of every site (row) and occasion (column).

    Args:
        days: ``site, label, date, analysed_min, calls``, as `g5.field.tables.by` has them.
        labels: that were looked for.
        occasion: length, days; the first begins with the first day of the season.

    Returns:
        The minutes, 0 where there are none; the calls, NaN there. Columns are ``d2024_05_31``, the
        first day of each occasion, a name that R leaves as it is.
    """
    first, last = days["date"].min(), days["date"].max()
    count = int((last - first).days) // occasion + 1
    starts = [first + pd.Timedelta(days=occasion * k) for k in range(count)]
    columns = [f"d{day:%Y_%m_%d}" for day in starts]
    number = ((days["date"] - first).dt.days // occasion).to_numpy()
    sites, codes = np.unique(days["site"].to_numpy(object).astype(str), return_inverse=True)
    index = pd.Index(sites, name="site")

    def spread(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        matrix = np.zeros((len(sites), count))
        np.add.at(matrix, (codes[rows], number[rows]), values[rows])
        return matrix

    of_label = days["label"].to_numpy(object)
    minutes, calls = days["analysed_min"].to_numpy(float), days["calls"].to_numpy(float)
    spent = spread(of_label == labels[0], minutes) if labels else np.zeros((len(sites), count))
    effort = pd.DataFrame(spent, index, columns)
    return effort, {
        label: pd.DataFrame(spread(of_label == label, calls), index, columns).where(effort > 0)
        for label in labels
    }


def write_matrix(matrix: pd.DataFrame, places: pd.DataFrame, path: Path, *, whole: bool) -> Path:
    """Write ``site, lat, lon`` and the occasions; NA where there was no effort.

    Args:
        matrix: of `matrices`.
        places: ``lat, lon`` by site.
        whole: all numbers are whole.
    """
    cells = matrix.astype("Int64") if whole else matrix.round(2)
    table = places.reindex(matrix.index).join(cells).reset_index()
    table["site"] = [guarded(str(site)) for site in table["site"]]
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, na_rep="NA")
    return path
