"""What was really there: a folder of annotation tables, and the predictions that speak of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd

from g5.common.errors import UserError
from g5.common.files import TABLE_SUFFIXES, base_name, is_audio, is_table, walk
from g5.common.progress import track
from g5.common.spreadsheet import unguarded
from g5.common.words import counted
from g5.evaluation.events.matching import N_SHOTS
from preprocessing.annotations import (
    UnknownFormat,
    columns_in,
    format_of,
    read_events,
    recording_of,
)
from preprocessing.annotations.spelling import folded
from preprocessing.audio import info
from preprocessing.events import Problem, at_rows
from preprocessing.naming import Listing, same_recording, spelling

TRUTH_COLUMNS = ["name", "label", "start_s", "end_s", "status"]
CALL = "call"
# What `g5 detect` writes: events, those that lower thresholds would find, what became of each file,
# and the support that it went by.
PREDICTIONS, CANDIDATES_CSV, LEDGER = "predictions.csv", "candidates.csv", "ledger.csv"
SUPPORT_CSV = "support.csv"


def check_found(folder: Path, predictions: str = PREDICTIONS) -> None:
    """Raise `UserError` for what is no folder of a `g5 detect`."""
    for name in (predictions, LEDGER):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder}: has no {name}; give the folder (-o) that g5 detect wrote to"
            )


def read_ledger(folder: Path) -> pd.DataFrame:
    """What became of each recording in the folder of a `g5 detect`, as text.

    Raises:
        UserError: its ledger is none.
    """
    path = folder / LEDGER
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError:
        table = pd.DataFrame()
    if not {"file", "status", "duration_s"} <= set(table):
        raise UserError(f"{path}: is no ledger; give the folder that g5 detect wrote to")
    return table.assign(file=table["file"].map(unguarded))


@dataclass(frozen=True, eq=False)
class Truth:
    """The events of a set of recordings.

    Attributes:
        events: `TRUTH_COLUMNS`; ``name`` is the recording's without its suffix, and ``label`` is
            "" where a recording has one nameless class, as a ``Q`` column says: there every
            prediction counts, whatever its label.
        subset_of: the subset of every recording, also of those without events.
        durations_s: of the recordings that are known to be this long.
    """

    events: pd.DataFrame
    subset_of: Mapping[str, str]
    durations_s: Mapping[str, float]


def read_truth(
    folder: str | Path, columns: Mapping[str, str] | None = None
) -> tuple[Truth, list[Problem]]:
    """Read a table, or those of a folder; its sub-folders are the subsets, a flat folder is one.

    A DCASE table is of the recording that it is named after. Recordings that lie beside their
    tables are opened for their lengths. ``columns`` are names for ours of tables that have them
    (`columns_in`).

    Raises:
        UserError: no folder, no tables in it, an unreadable row, or a recording with two tables.
    """
    root = Path(folder)
    if root.is_file():
        tables = files = [root]
        root = root.parent
    elif root.is_dir():
        files = walk(root)
        tables = [file for file in files if is_table(file)]
    else:
        raise UserError(f"{root}: there is no such ground truth, neither a table nor a folder")
    parts: list[pd.DataFrame] = []
    problems: list[Problem] = []
    table_of: dict[str, Path] = {}
    told_by: dict[str, Path] = {}  # whatever case it is written in
    for path in track(tables, total=len(tables), label="ground truth", unit="tables"):
        try:
            part, found = _read_table(path, columns_in(path, columns))
        except UnknownFormat as error:
            message = str(error).removeprefix(f"{path}: ")
            problems.append(Problem("unknown-format", str(path), f"{message}; passed over", False))
            continue
        problems += found
        parts.append(part)
        for name in {recording_of(path)} if part.empty else set(part["name"]):
            other = told_by.setdefault(folded(name), path)
            if other is not path:
                raise UserError(f"{path}: tells of {name}, as {other} does; names must differ")
            table_of[name] = path
    if not table_of:
        why = "".join(f"; {problem}" for problem in problems[:1])
        raise UserError(f"{root}: has no annotation tables ({', '.join(TABLE_SUFFIXES)}){why}")
    subset_of = {name: _subset(root, path) for name, path in table_of.items()}
    events = pd.concat([part.loc[:, TRUTH_COLUMNS] for part in parts], ignore_index=True)
    durations_s, found = _durations(files, subset_of)
    return Truth(events, subset_of, durations_s), [*problems, *found, *_few_shots(events, table_of)]


def _durations(
    files: Iterable[Path], names: Iterable[str]
) -> tuple[dict[str, float], list[Problem]]:
    durations_s, problems = {}, []
    known = Listing(names)
    for file in filter(is_audio, files):
        found = known.find(str(file))
        if len(found) != 1:
            continue
        try:
            durations_s[found[0]] = info(file).duration_s
        except UserError as error:
            message = str(error).removeprefix(f"{file}: ")
            problems.append(Problem("unreadable-audio", str(file), message, False))
    return durations_s, problems


def _few_shots(events: pd.DataFrame, table_of: Mapping[str, Path]) -> list[Problem]:
    calls = events.loc[events["status"] == "POS"].groupby(["name", "label"]).size()
    return [
        Problem(
            "few-calls",
            str(table_of[name]),
            f"has {counted(n, 'call')} of {label or name}, and the first {N_SHOTS} are support: "
            "none is left "
            "to be found",
            False,
        )
        for (name, label), n in calls[calls <= N_SHOTS].items()
    ]


def _read_table(
    path: Path, columns: Mapping[str, str] | None
) -> tuple[pd.DataFrame, list[Problem]]:
    events, problems = read_events(path, boxes=False, columns=columns)
    for problem in problems:
        if problem.fatal:
            raise UserError(f"{problem} (ground truth must be whole)")
    names = _names_of(events["file"])
    unlabelled = events["label"].isin([CALL]) | (events["label"] == names)
    if columns is None and format_of(path) == "dcase" and names.nunique() == 1:
        names[:] = recording_of(path)
    labels = events["label"].where(~unlabelled, "")
    events = events.assign(name=names, label=labels)
    return events, [*problems, *_unsorted(events, path), *odd_boxes(events, path)]


def _unsorted(events: pd.DataFrame, path: Path) -> list[Problem]:
    """Rows are sorted by onset now; their numbers tell whether they were."""
    back = (events.groupby("name")["row"].diff() < 0).to_numpy()
    if not back.any():
        return []
    message = (
        "is not sorted by onset; it is sorted here, whereas the published evaluator takes other "
        "calls for the support"
    )
    return [Problem("unsorted", str(path), message, False)]


def odd_boxes(events: pd.DataFrame, path: Path) -> list[Problem]:
    """Events that can be matched to nothing, or that say the same twice."""
    length_s = events["end_s"] - events["start_s"]
    again = events.duplicated(["file", "start_s", "end_s", "label"])
    odd = {
        "has no length and matches nothing": length_s == 0,
        "ends before it starts and matches nothing": length_s < 0,
        "repeats another row; each counts": again,
    }
    return [
        Problem("odd-box", at_rows(str(path), events.loc[rows, "row"]), message, False)
        for message, rows in odd.items()
        if rows.any()
    ]


def read_predictions(
    path: str | Path, truth: Truth, columns: Mapping[str, str] | None = None
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read predictions of any format, each with the class of the ground truth that it means.

    ``columns`` are names for ours, if the table has them (`columns_in`).

    Returns:
        The POS events with ``name`` and ``label`` as in ``truth``, of the recordings that it
        knows; and what is odd, row by row.

    Raises:
        UserError: unreadable, or predictions without labels in recordings of several classes.
    """
    path = Path(path)
    events, problems = read_events(path, boxes=False, columns=columns_in(path, columns))
    events = events.loc[events["status"] == "POS"].reset_index(drop=True)
    problems = [*problems, *odd_boxes(events, path)]
    if events.empty:
        problems.append(Problem("empty-table", str(path), "has no predictions", False))
    names = _known_names(events["file"], truth, path)
    strange = ~names.isin(list(truth.subset_of)).to_numpy()
    if strange.any():
        at = at_rows(str(path), events.loc[strange, "row"])
        message = f"there is no ground truth for {next(iter(names[strange]))}; left out"
        problems.append(Problem("no-truth", at, message, False))
    events = _labelled(events.assign(name=names).loc[~strange], truth, path)
    return events, [*problems, *_unmatched(events, truth, path)]


def _unmatched(events: pd.DataFrame, truth: Truth, path: Path) -> list[Problem]:
    """Recordings without predictions, and classes that one of the two lacks: both count in full."""
    problems = []
    silent = sorted(set(truth.subset_of) - set(events["name"]))
    if silent and len(events):
        there, total = len(truth.subset_of) - len(silent), len(truth.subset_of)
        message = (
            f"{there} of {total} recordings of the ground truth have predictions; all calls of "
            f"{_some(silent)} count as missed"
        )
        problems.append(Problem("no-predictions", str(path), message, False))
    calls = truth.events.loc[truth.events["status"] == "POS"]
    known, said = set(calls["label"]) - {""}, set(events["label"]) - {""}
    for label in sorted(said - known):
        rows = events.loc[events["label"] == label, "row"]
        near = [name for name in known if folded(name) == folded(label)]
        near = near or get_close_matches(label, known, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        message = f"the ground truth has no class {label!r}: all are false positives{hint}"
        problems.append(Problem("no-such-class", at_rows(str(path), rows), message, False))
    if said and known - said:
        message = f"predicts nothing of {_some(sorted(known - said))}: all their calls are missed"
        problems.append(Problem("class-not-predicted", str(path), message, False))
    return problems


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def read_candidates(predictions: Path, truth: Truth) -> pd.DataFrame | None:
    """What `g5 detect` wrote beside its predictions, as `read_predictions`; None: nothing."""
    path = predictions.with_name(CANDIDATES_CSV)
    if predictions.name != PREDICTIONS or not path.is_file():
        return None
    return read_predictions(path, truth)[0]


def _labelled(events: pd.DataFrame, truth: Truth, path: Path) -> pd.DataFrame:
    """Nameless predictions get the one class of their recording."""
    classes: dict[Any, set[str]] = {}
    for name, rows in truth.events.groupby("name"):
        classes[name] = set(rows["label"])
    labels = []
    for name, label in zip(events["name"], events["label"], strict=True):
        known = classes.get(name, {""})
        if "" in known:
            labels.append("")
        elif label not in (CALL, name):
            labels.append(label)
        elif len(known) == 1:
            labels.append(*known)
        else:
            raise UserError(
                f"{path}: says no class, and {name} has {len(known)}; give predictions with labels"
            )
    return events.assign(label=pd.Series(labels, events.index, dtype="str"))


def _names_of(files: Iterable[str]) -> pd.Series:
    """A recording's name without folder; with it where two folders hold one of that name."""
    written: dict[str, list[str]] = {}
    for file in dict.fromkeys(map(str, files)):
        written.setdefault(spelling(file), []).append(file)
    names, first = {}, {}
    for alike in written.values():
        one = all(same_recording(a, b) for a in alike for b in alike)
        for file in alike:
            name = recording_name(alike[0]) if one else _below(file)
            names[file] = first.setdefault(folded(name), name)
    return pd.Series([names[str(file)] for file in files], dtype="str")


def _below(file: str) -> str:
    """``folder/name`` without suffix."""
    return PureWindowsPath(file).with_name(recording_name(file)).as_posix()


def _known_names(files: Iterable[str], truth: Truth, path: Path) -> pd.Series:
    """The names of the ground truth that predictions speak of; else their own.

    Raises:
        UserError: a name may be of several recordings, or two are of one.
    """
    known, names = Listing(list(truth.subset_of)), {}
    by_name: dict[str, str] = {}
    for file in dict.fromkeys(map(str, files)):
        found = known.find(file)
        if len(found) > 1:
            raise UserError(
                f"{path}: {file} may be {' or '.join(sorted(found)[:2])} of the ground truth; "
                "write more of its path"
            )
        names[file] = found[0] if found else recording_name(file)
        other = by_name.setdefault(names[file], file)
        if found and not same_recording(file, other):
            raise UserError(
                f"{path}: {other} and {file} are two recordings, and the ground truth tells of one "
                f"({names[file]}); write the folders there, too"
            )
    return pd.Series([names[str(file)] for file in files], dtype="str")


def recording_name(file: str) -> str:
    """A recording's name without folder and suffix."""
    name = base_name(str(file))
    return name.rpartition(".")[0] if is_audio(name) else name


def _subset(root: Path, path: Path) -> str:
    place = path.parent.relative_to(root)
    return root.resolve().name if place == Path() else place.as_posix()
