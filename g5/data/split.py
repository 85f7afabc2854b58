"""`g5 data split`: part a list of clips, write the split file, its table and its figure."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from g5.evaluation.report.split_figure import split_figure
from preprocessing.datasets.splits import FILE, FOLD, LABEL, distribution, make_splits, read_list

ROWS_SHOWN = 40  # classes in the printed table; the figure has all


def split_clips(
    source: Path,
    target: Path,
    *,
    mlflow: bool,
    columns: Mapping[str, str] | None = None,
    **how: Any,
) -> None:
    """Part the clips of ``source``, and write ``target`` with a figure beside it.

    Args:
        mlflow: record both there, too, where there is one.
        columns: what the list calls our columns, ``{ours: theirs}``.
        how: as `preprocessing.datasets.splits.make_splits` takes it.
    """
    table = _moved(read_list(source, columns), source.parent, target.parent)
    splits = make_splits(table, **how)
    counts = [("Hold-out", distribution(splits.table))]
    if FOLD in splits.table:
        counts.append(("Folds", distribution(splits.table, FOLD)))
    splits.write(target)
    figure = split_figure(counts, target.with_suffix(".png"), mark_missing=how["by"] != LABEL)
    print(_printed(pd.concat([part for _, part in counts], axis=1)))
    for line in splits.warnings:
        print(f"warning: {line}")
    print(f"\nsplit   {target}    (split_hash {splits.hash})\nfigure  {figure}")
    if mlflow:
        from g5.tracking.mlflow.files import record_files

        tags = {**how, "split_file": splits.hash, "warnings": len(splits.warnings)}
        parts = counts[0][1].sum().to_dict()
        place = record_files(
            [target, figure], root=Path.cwd(), job="split", name=target.name,
            headline=f"{source.name} in {', '.join(f'{name}: {n}' for name, n in parts.items())}",
            tags=tags, metrics={f"clips/{name}": float(n) for name, n in parts.items()},
        )  # fmt: skip
        if place:
            print(f"MLflow  {place}")


def _moved(table: pd.DataFrame, old: Path, new: Path) -> pd.DataFrame:
    """Files are named from where the list lies: name them from where the split file will lie."""
    if old.resolve() == new.resolve():
        return table
    there = table[FILE].map(lambda name: not os.path.isabs(name) and (old / name).exists())
    moved = table[FILE].map(lambda name: os.path.relpath(old / name, new))
    return table.assign(**{FILE: table[FILE].where(~there, moved)})


def _printed(counts: pd.DataFrame) -> str:
    """Clips of each class in each part, and the totals."""
    counts.columns = [f"fold {name}" if isinstance(name, int) else name for name in counts]
    total = counts.sum().rename("all")
    shown = counts.head(ROWS_SHOWN)
    rest = len(counts) - len(shown)
    text = pd.concat([shown, total.to_frame().T]).to_string()
    return text + (f"\n({rest} more classes are in the figure)" if rest else "")
