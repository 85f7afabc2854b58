"""A run's `history.csv`: its columns, its rows, its best epoch.

The file has one row per epoch; a cell is empty where nothing was measured (validation may run
every few epochs).
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from g5.common.atomic import atomic_path
from g5.common.errors import UserError, brief

COLUMNS = ["epoch", "train/loss", "val/loss", "train/acc", "val/acc", "lr"]


def read_history(path: Path) -> pd.DataFrame:
    """Read a `history.csv`, sorted by epoch; of an epoch written twice the later row holds.

    Raises:
        UserError: the file is missing, empty, or lacks a column.
    """
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a training run writes it") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a training history ({brief(error)})") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise UserError(f"{path}: not a training history: no column {', '.join(missing)}")
    if table.empty:
        raise UserError(f"{path}: no epoch has been finished yet")
    table = table[COLUMNS].apply(pd.to_numeric, errors="coerce")
    table = pd.DataFrame(table).drop_duplicates(subset=["epoch"], keep="last")
    return table.sort_values("epoch", ignore_index=True)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV that a training writes, as text; none where there is no file yet."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write them again, with those that have come; whole or not at all."""
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as handle,
    ):
        writer = csv.DictWriter(handle, list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)


def best_epoch(history: pd.DataFrame) -> int | None:
    """The first epoch with the highest val/acc; None without validation."""
    accuracy = history["val/acc"].to_numpy()
    if np.isnan(accuracy).all():
        return None
    return int(history["epoch"].to_numpy()[np.nanargmax(accuracy)])
