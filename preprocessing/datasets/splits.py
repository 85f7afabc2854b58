"""Which clips train, which validate and which test: hold-out and folds, drawn by scikit-learn.

A split file is a list of clips, ``file,label,...``, with a column ``split`` (train, val, test), a
column ``fold`` (0, 1, ...) where folds were asked for, and a column ``split_hash`` that is the same
in every row: it shows that no row was changed since, and travels into every run.

Shapes: R rows, C classes, G groups.
"""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.common.spreadsheet import write_csv
from g5.common.words import counted
from preprocessing.annotations import odd_labels, read_texts
from preprocessing.events import SPLITS

LABEL, FILE, SPLIT, FOLD, HASH = "label", "file", "split", "fold", "split_hash"
DRAWS = 300  # of groups for a hold-out, of which the closest to what was asked for is taken


@dataclass(frozen=True)
class Splits:
    """A list of clips with their splits.

    Attributes:
        table: the list's own columns, and `SPLIT`, `FOLD` where there are folds, `HASH`.
        hash: of every clip's file, label, split and fold, 16 hex digits.
        warnings: a line each: classes missing from a split, groups in several.
    """

    table: pd.DataFrame
    hash: str
    warnings: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write the split file, whole or not at all."""
        write_csv(self.table, path)


def make_splits(
    table: pd.DataFrame,
    *,
    by: str | None,
    stratify: bool,
    val: float,
    test: float,
    folds: int | None,
    seed: int,
) -> Splits:
    """Part a list of clips.

    Args:
        table: as from `read_list`.
        by: a column whose values stay together (source, site, individual, date, recording);
            ``label`` parts by classes, for few-shot: classes that share a source stay together.
            None: every clip on its own.
        stratify: keep the shares of the classes alike in every part.
        val, test: shares of the clips; 0 for none.
        folds: number of folds, each of which is the test set once; None for none.
        seed: of the draws.
    Raises:
        UserError: shares or folds that cannot be, a column that is not there or has empty cells,
            or fewer groups than parts.
    """
    _check_shares(val, test)
    label_R = table[LABEL].to_numpy(str)
    by_class = by == LABEL
    group_R = linked_classes(table) if by_class else _groups(table, by)
    stratify = stratify and not by_class
    noun = ("clip", None) if by is None else (f"value of {by}", f"values of {by}")
    parts = 1 + (val > 0) + (test > 0)
    for key, needed in (("--val and --test", parts), ("--folds", folds or 0)):
        units = len(np.unique(group_R))
        if units < needed:
            raise UserError(
                f"{key}: {needed} parts, but only {counted(units, *noun)}"
                + (" (classes that share a source count as one)" if by_class else "")
            )
    split_R = _hold_out(label_R, group_R, by is not None, stratify, val, test, seed)
    if FOLD in table and HASH not in table:  # the list's own folds stay under another name
        table = table.rename(columns={FOLD: "given_fold"})
    table = table.drop(columns=[SPLIT, FOLD, HASH], errors="ignore").assign(**{SPLIT: split_R})
    if folds is not None:
        fold_R = fold_numbers(label_R, group_R if by else None, folds, stratify=stratify, seed=seed)
        table[FOLD] = fold_R
    digest = digest_of(table)
    table[HASH] = digest
    notes = [] if by_class else [*_missing_classes(table, group_R, by, val, test)]
    notes += [*_spread_sources(table), *odd_labels(table[LABEL])]
    return Splits(table, digest, tuple(notes))


def read_list(path: Path, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A list of clips as text, without the blanks around cells; ``columns`` are ``{ours: theirs}``.

    Raises:
        UserError: unreadable, no clips, no ``file`` or ``label`` column, or a cell of them empty.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    cells = read_texts(path).renamed(columns or {})
    for problem in cells.problems:
        if problem.fatal:
            raise UserError(str(problem))
    table = pd.DataFrame({name: cells.text(name) for name in cells.names}, dtype="str")
    for column in (FILE, LABEL):
        if column not in table:
            raise UserError(f"{path}: no column {column}; it has {', '.join(map(str, table))}")
    if table.empty:
        raise UserError(f"{path}: lists no clips")
    for column in (FILE, LABEL):
        _refuse_empty(table, column, str(path))
    return table


def split_hash_of(path: Path) -> str | None:
    """The hash of a split file, verified; None for a list that `g5 data split` did not write.

    Raises:
        UserError: a row was changed, added or removed since the file was written.
    """
    with open(path, encoding="utf-8-sig", errors="replace") as handle:
        if HASH not in handle.readline():
            return None
    table = read_list(path)
    if HASH not in table or SPLIT not in table:
        return None
    stored = sorted(set(table[HASH]))
    if stored != [digest_of(table)]:
        raise UserError(
            f"{path}: was changed since g5 data split wrote it (split_hash is "
            f"{', '.join(stored)[:60]}, the rows give {digest_of(table)}); split again, or remove "
            "the column split_hash"
        )
    return stored[0]


def digest_of(table: pd.DataFrame) -> str:
    """Of file name, label, split and fold of all rows in any order; folders are no part of it."""
    columns = [name for name in (LABEL, SPLIT, FOLD) if name in table]
    names = table[FILE].map(lambda file: file.replace("\\", "/").rsplit("/", 1)[-1])
    rows = zip(names, *(table[name].astype(str) for name in columns), strict=True)
    text = "\n".join(sorted("\t".join(row) for row in rows))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def distribution(table: pd.DataFrame, column: str = SPLIT) -> pd.DataFrame:
    """Clips of each class (row) in each split or fold (column), in their order."""
    counts = pd.crosstab(table[LABEL], table[column])
    order = [name for name in SPLITS if name in counts] if column == SPLIT else sorted(counts)
    return counts.loc[:, order]


def linked_classes(table: pd.DataFrame) -> np.ndarray:
    """(R,) group numbers: rows of one class, and of classes that share a source, are one group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    label_R, labels = pd.factorize(table[LABEL], sort=True)
    if "source" not in table:
        return np.asarray(label_R)
    source_R, sources = pd.factorize(table["source"])
    size = len(labels) + len(sources)
    links = coo_array((np.ones(len(table)), (label_R, source_R + len(labels))), shape=(size, size))
    return connected_components(links, directed=False)[1][label_R]


# --- hold-out ---------------------------------------------------------------------------------


def _hold_out(
    label_R: np.ndarray, group_R: np.ndarray, grouped: bool, stratify: bool,
    val: float, test: float, seed: int,
) -> np.ndarray:  # fmt: skip
    split_R = np.full(len(label_R), "train", dtype=object)
    left = np.arange(len(label_R))
    taken = 0.0
    for name, share in (("test", test), ("val", val)):
        if share == 0:
            continue
        of_left = share / (1 - taken)
        rows = held_out(
            label_R[left], group_R[left] if grouped else None, of_left, stratify=stratify, seed=seed
        )
        split_R[left[rows]] = name
        left, taken = np.delete(left, rows), taken + share
    return split_R


def held_out(
    label_R: np.ndarray, group_R: np.ndarray | None, share: float, *, stratify: bool, seed: int
) -> np.ndarray:
    """Rows of about ``share`` of all, by whole groups where there are groups.

    Groups are drawn many times, and the draw is taken that comes closest to the share of rows and,
    with ``stratify``, of every class.
    """
    from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

    blank = np.zeros(len(label_R))
    how = {"test_size": share, "random_state": seed}
    if group_R is not None:
        n_groups = len(np.unique(group_R))
        how["test_size"] = min(max(1, round(share * n_groups)), n_groups - 1)
        draws = GroupShuffleSplit(n_splits=DRAWS, **how).split(blank, groups=group_R)
        return min(
            (rows for _, rows in draws), key=lambda rows: _off(label_R, rows, share, stratify)
        )
    if not stratify:
        return next(ShuffleSplit(n_splits=1, **how).split(blank))[1]
    # A class with one clip cannot be in two parts: it stays where it is.
    _, class_R, counts_C = np.unique(label_R, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(counts_C[class_R] >= 2)
    try:
        splitter = StratifiedShuffleSplit(n_splits=1, **how)
        return shared[next(splitter.split(blank[shared], label_R[shared]))[1]]
    except ValueError:
        raise UserError(
            f"--val and --test: {share:.0%} of {len(label_R)} clips is too little to hold every "
            f"one of {len(counts_C)} classes; raise the share, or use --plain"
        ) from None


def _off(label_R: np.ndarray, rows: np.ndarray, share: float, stratify: bool) -> float:
    """How far a draw is from what was asked for."""
    off = abs(len(rows) / len(label_R) - share)
    if stratify:
        _, class_R = np.unique(label_R, return_inverse=True)
        share_C = np.bincount(class_R[rows], minlength=class_R.max() + 1) / np.bincount(class_R)
        off += float(np.abs(share_C - share).mean())
    return off


# --- folds ------------------------------------------------------------------------------------


def fold_numbers(
    label_R: np.ndarray, group_R: np.ndarray | None, folds: int, *, stratify: bool, seed: int
) -> np.ndarray:
    """(R,) the fold of each row, 0 to ``folds - 1``; groups stay whole.

    Raises:
        UserError: fewer than two folds, or fewer rows or groups than folds.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    if folds < 2:
        raise UserError(f"--folds {folds}: must be at least 2")
    if group_R is None:
        kind = StratifiedKFold if stratify else KFold
    else:
        kind = StratifiedGroupKFold if stratify else GroupKFold
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    fold_R = np.empty(len(label_R), dtype=np.int64)
    try:
        with warnings.catch_warnings():
            # Of classes smaller than the folds; they are named in our own words.
            warnings.simplefilter("ignore", UserWarning)
            parts = list(splitter.split(np.zeros(len(label_R)), label_R, group_R))
    except ValueError as error:
        raise UserError(f"--folds {folds}: {error}") from None
    for number, (_, rows) in enumerate(parts):
        fold_R[rows] = number
    return fold_R


# --- what the user should know ----------------------------------------------------------------


def _missing_classes(
    table: pd.DataFrame, group_R: np.ndarray, by: str | None, val: float, test: float
) -> list[str]:
    """A line for every class that is in some split or fold not at all."""
    wanted = ["train", *(name for name, share in (("val", val), ("test", test)) if share)]
    held = distribution(table).reindex(columns=wanted, fill_value=0)
    by_fold = distribution(table, FOLD) if FOLD in table else None
    lines = []
    for label in held.index:
        without = [name for name in wanted if held.loc[label, name] == 0]
        if by_fold is not None:
            empty = [str(k) for k in by_fold if by_fold.loc[label, k] == 0]
            without += [f"fold{'s' if len(empty) > 1 else ''} {', '.join(empty)}"] if empty else []
        if not without:
            continue
        rows = (table[LABEL] == label).to_numpy()
        n_clips, n_groups = int(rows.sum()), len(np.unique(group_R[rows]))
        why = f"it has {counted(n_clips, 'clip')}"
        if by is not None:
            why += f" of {n_groups} {by}" if n_groups > 1 else f", all of one {by}"
        lines.append(f"class {label!r} is missing from {' and '.join(without)}: {why}")
    return lines


def _spread_sources(table: pd.DataFrame) -> list[str]:
    """A line where clips of one source lie in several splits: a test is flattered by that."""
    if "source" not in table:
        return []
    named = table.loc[table["source"] != ""]
    spread = int((named.groupby("source")[SPLIT].nunique() > 1).sum())
    if not spread:
        return []
    return [
        f"{spread} of {named['source'].nunique()} sources have clips in several splits, which "
        "flatters a test; --by source keeps them together"
    ]


def _groups(table: pd.DataFrame, by: str | None) -> np.ndarray:
    if by is None:
        return np.arange(len(table))
    if by == "recording" and by not in table:
        by = FILE
    if by not in table:
        raise UserError(f"--by {by}: no such column; there are {', '.join(map(str, table))}")
    _refuse_empty(table, by, f"--by {by}")
    return pd.factorize(table[by])[0]


def _refuse_empty(table: pd.DataFrame, column: str, where: str) -> None:
    empty = np.flatnonzero((table[column].str.strip() == "").to_numpy()) + 2
    if len(empty):
        shown = ", ".join(map(str, empty[:5].tolist())) + (" ..." if len(empty) > 5 else "")
        raise UserError(f"{where}: {column} is empty in row {shown} (the header is row 1)")


def _check_shares(val: float, test: float) -> None:
    for key, share in (("--val", val), ("--test", test)):
        if not 0 <= share < 1:
            raise UserError(f"{key} {share}: must be a share of the clips, 0 to below 1")
    if val + test >= 1:
        raise UserError(f"--val {val} and --test {test} leave nothing for training")
