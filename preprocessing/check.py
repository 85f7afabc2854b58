"""Finds what is wrong with a corpus, and prints what is in it: what `g5 data check` stands on.

The functions over ``rows`` take the columns of the events table and ``table`` and ``row``, where
each event was read; they are vectorised, and report a table's rows together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from g5.common.words import counted, length
from preprocessing.events import EVENT_COLUMNS, ROWS_SHOWN, SPLITS, Corpus, Problem, at_rows

# Times in tables are rounded: what passes the end by less is clipped without a word.
ROUNDING_S = 1e-3
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def inside(
    rows: pd.DataFrame, durations: Mapping[str, float]
) -> tuple[pd.DataFrame, list[Problem]]:
    """Clip events to their recordings, and drop those that are empty or wholly outside.

    Args:
        rows: events; ``end_s`` is NaN where the whole recording is the event.
        durations: seconds, by file.
    """
    duration_s = np.array([durations[file] for file in rows["file"]], dtype=np.float64)
    start_s = rows["start_s"].to_numpy(dtype=np.float64)
    end_s = rows["end_s"].fillna(np.inf).to_numpy(dtype=np.float64)
    end_s = np.where(np.isposinf(end_s), duration_s, end_s)
    negative, zero = end_s < start_s, end_s == start_s
    outside = ~negative & ~zero & ((start_s >= duration_s) | (end_s <= 0))
    drop = negative | zero | outside
    early = ~drop & (start_s < 0)
    late = ~drop & (end_s > duration_s + ROUNDING_S)
    found = [
        *_each_table(rows, negative, "negative", "ends before it starts; put it right", True),
        *_each_table(rows, zero, "zero-length", "has no length; it is left out", False),
        *_each_table(
            rows, outside, "past-end", "lies outside the recording; it is left out", False
        ),
        *_each_table(rows, early, "past-end", "starts before the recording; it is cut", False),
        *_each_table(rows, late, "past-end", "ends after the recording; it is cut", False),
    ]
    clipped = rows.assign(start_s=np.maximum(start_s, 0), end_s=np.minimum(end_s, duration_s))
    return clipped.loc[~drop], found


def unsorted(rows: pd.DataFrame) -> list[Problem]:
    """Rows that start before the row above them, in a table's rows of one recording."""
    rows = rows.drop_duplicates(["table", "row"])
    key = _codes(rows, ["table", "file"])
    order = np.lexsort((rows["row"], key))
    start_s, key = rows["start_s"].to_numpy()[order], key[order]
    back = (key[1:] == key[:-1]) & (start_s[1:] < start_s[:-1])
    flag = np.zeros(len(rows), dtype=bool)
    flag[order[1:][back]] = True
    message = "starts before the row above; the rows are sorted here"
    return list(_each_table(rows, flag, "unsorted", message, False))


def without_duplicates(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Drop rows that say what another row has said: a call must not be its own query."""
    again = rows.duplicated([*EVENT_COLUMNS, "split"]).to_numpy()
    message = "repeats another row; it counts once"
    found = list(_each_table(rows, again, "duplicate-row", message, False))
    return rows.loc[~again], found


def overlaps(rows: pd.DataFrame) -> list[Problem]:
    """Calls of one class in one recording that start before an earlier one has ended."""
    rows = rows.loc[rows["status"] == "POS"]
    key = _codes(rows, ["file", "label"])
    order = np.lexsort((rows["start_s"], key))
    start_s, key = rows["start_s"].to_numpy()[order], key[order]
    end_s = pd.Series(rows["end_s"].to_numpy()[order])
    latest_s = end_s.groupby(key).cummax().to_numpy()
    over = (key[1:] == key[:-1]) & (start_s[1:] < latest_s[:-1] - 1e-9)
    flag = np.zeros(len(rows), dtype=bool)
    flag[order[1:][over]] = True
    message = "overlaps an earlier call of its class; a clip of one then holds some of the other"
    return list(_each_table(rows, flag, "overlap", message, False))


def duplicate_bytes(files: pd.DataFrame) -> list[Problem]:
    """Recordings that are equal byte by byte; across splits that is fatal.

    Args:
        files: columns ``file, sha256, split``, one row for each split that a file is in.
    """
    found = []
    repeated = files.loc[files["sha256"].duplicated(keep=False)].sort_values(["sha256", "file"])
    for _, group in repeated.groupby("sha256", sort=False, observed=True):
        firsts = group.drop_duplicates("split").to_dict("records")
        first = group.iloc[0]
        if len(firsts) > 1:
            one, other = firsts[0], firsts[1]
            same = one["file"] == other["file"]
            message = (
                f"is in {one['split']} and in {other['split']}; choose one"
                if same
                else f"({one['split']}) is byte for byte {other['file']} ({other['split']}); "
                "remove one"
            )
            found.append(Problem("duplicate-bytes", one["file"], message, True))
        for file in group["file"].unique()[1:]:
            message = f"is byte for byte {first['file']}; both count as one source"
            if set(group.loc[group["file"] == file, "split"]) == {first["split"]}:
                found.append(Problem("duplicate-bytes", file, message, False))
    return found


def leaks(events: pd.DataFrame, column: str) -> list[Problem]:
    """Values of ``column`` ("label" or "source") whose POS events are in more than one split."""
    noun, advice = {
        "label": ("class", "a test is on classes never seen (data.split=by_class parts clips so)"),
        "source": ("source", "choose one of them"),
    }[column]
    places = events.loc[events["status"] == "POS"].drop_duplicates([column, "split"])
    shared = places.loc[places[column].duplicated(keep=False)]
    found = []
    for value, group in shared.groupby(column, observed=True):
        pairs = zip(group["split"], group["file"], strict=True)
        at = " and in ".join(f"{split} ({file})" for split, file in pairs)
        found.append(Problem("split-leak", f"{noun} {value!r}", f"is in {at}; {advice}", True))
    return found


def contradictions(rows: pd.DataFrame) -> list[Problem]:
    """Clips that have several labels, where one is meant; whatever their files are called."""
    clips = rows.groupby(["sha256", "start_s", "end_s"], observed=True, dropna=False)
    several = clips["label"].transform("nunique").to_numpy() > 1
    found = []
    for _, group in rows.loc[several].groupby("sha256", sort=False, observed=True):
        file = group["file"].iloc[0]
        labels = " and ".join(
            f"{row.label!r} (" + (f"row {row.row}" if row.row else "its folder")
            + (")" if row.file == file else f", {row.file})")
            for row in group.itertuples()
        )  # fmt: skip
        message = f"has several labels that contradict each other, {labels}; all are used"
        found.append(Problem("contradiction", str(file), message, False))
    return found


def few_calls(corpus: Corpus, *, n_way: int, k_shot: int, n_query: int) -> list[Problem]:
    """Classes too small for an episode, and splits with too few classes that are not."""
    need = k_shot + n_query
    found = []
    for name in _splits(corpus):
        counts = Counter(corpus.split(name)["label"])
        for label, count in sorted(counts.items()):
            if count >= need:
                continue
            message = (
                f"has {counted(count, 'call')} in {name}, and an episode takes {k_shot} + "
                f"{n_query}; "
                "it is left out of episodes"
            )
            found.append(Problem("few-calls", f"class {label!r}", message, False))
        enough = sum(count >= need for count in counts.values())
        if enough < n_way:
            message = (
                f"has {counted(enough, 'class', 'classes')} with at least "
                f"{counted(need, 'call')}, and an episode takes {n_way}; "
                "lower arch.episodes.n_way, k_shot or n_query, or add recordings"
            )
            found.append(Problem("few-classes", name, message, True))
    return found


def problems(corpus: Corpus, *, n_way: int, k_shot: int, n_query: int) -> list[Problem]:
    """Every problem of the corpus for episodes of this size, the fatal ones first."""
    small = few_calls(corpus, n_way=n_way, k_shot=k_shot, n_query=n_query)
    return sorted([*corpus.problems, *small], key=lambda problem: not problem.fatal)


def report(corpus: Corpus, *, n_way: int, k_shot: int, n_query: int) -> str:
    """What is in the corpus, split by split, and every problem: the text of `g5 data check`."""
    lines = []
    for name in SPLITS:
        lines += [*_describe(corpus, name), ""]
    found = problems(corpus, n_way=n_way, k_shot=k_shot, n_query=n_query)
    fatal = sum(problem.fatal for problem in found)
    if not found:
        return "\n".join([*lines, "no problems"])
    warnings = counted(len(found) - fatal, "warning")
    lines.append(f"{counted(fatal, 'error')} (training stops), {warnings}")
    for problem in found:
        lines.append(f"  {'error' if problem.fatal else 'warning'} [{problem.kind}] {problem}")
    return "\n".join(lines)


def _describe(corpus: Corpus, name: str) -> Iterator[str]:
    if name == "test" and corpus.test_is_val:
        yield "test: none of its own, the validation set is tested on"
        return
    recordings = corpus.recordings.loc[corpus.recordings["split"] == name]
    if recordings.empty:
        yield f"{name}: no recordings"
        return
    calls = corpus.split(name)
    others = corpus.events.loc[corpus.events["split"] == name, "status"].value_counts()
    rest = "".join(
        f", {others[status]:,} {status}" for status in ("UNK", "NEG") if status in others
    )
    yield (
        f"{name}: {counted(len(recordings), 'recording')}, "
        f"{length(recordings['duration_s'].sum())}, "
        f"{counted(calls['label'].nunique(), 'class', 'classes')}, "
        f"{counted(len(calls), 'call')}{rest}"
    )
    rates = recordings["rate_hz"].value_counts().sort_index()
    channels = recordings["channels"].value_counts().sort_index()
    yield "  rate: " + ", ".join(f"{hz} Hz ({count:,})" for hz, count in rates.items())
    yield "  channels: " + ", ".join(f"{n} ({count:,})" for n, count in channels.items())
    yield "  recordings: " + _quantiles(recordings["duration_s"].to_numpy())
    if len(calls):
        yield "  calls: " + _quantiles(calls["end_s"].to_numpy() - calls["start_s"].to_numpy())
        yield from _classes(calls)


def _quantiles(seconds: np.ndarray) -> str:
    values = np.quantile(seconds, QUANTILES)
    names = {0.0: "min", 0.5: "median", 1.0: "max"}
    parts = [
        f"{names.get(share, f'{share:.0%}')} {value:.3g}"
        for share, value in zip(QUANTILES, values, strict=True)
    ]
    return "seconds, " + ", ".join(parts)


def _classes(calls: pd.DataFrame) -> Iterator[str]:
    """Calls, and the sources they come from, of each class, most calls first."""
    counts = Counter(calls["label"])
    sources = Counter(calls.drop_duplicates(["label", "source"])["label"])
    width = max(len("class"), *map(len, counts))
    yield f"  {'class':<{width}}  {'calls':>7}  {'sources':>7}"
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        yield f"  {label:<{width}}  {counts[label]:>7,}  {sources[label]:>7,}"


def _splits(corpus: Corpus) -> list[str]:
    present = set(corpus.recordings["split"])
    return [name for name in SPLITS if name in present]


def _codes(rows: pd.DataFrame, columns: list[str]) -> np.ndarray:
    return rows.groupby(columns, sort=False, observed=True).ngroup().to_numpy()


def _each_table(
    rows: pd.DataFrame, flag: np.ndarray, kind: str, message: str, fatal: bool
) -> Iterator[Problem]:
    if flag.any():
        for table, group in rows.loc[flag].groupby("table", observed=True):
            where = at_rows(str(table), group["row"])
            if "Selection" in group:  # Raven's own numbers
                where += f" (selection {', '.join(map(str, group['Selection'][:ROWS_SHOWN]))})"
            yield Problem(kind, where, message, fatal)
