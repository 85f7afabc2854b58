"""Finds recordings on the disk, and remembers their headers and content hashes between starts."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from g5.common import sealed
from g5.common.elsewhere import kept
from g5.common.elsewhere.places import is_elsewhere
from g5.common.errors import UserError
from g5.common.progress import track
from g5.common.words import some
from preprocessing.audio import blocks, content_hash, info
from preprocessing.audio_rules import AudioRules
from preprocessing.events import Problem

# Kinds of problems.
UNREADABLE, SKIPPED, REPAIRED = "unreadable-audio", "skipped-audio", "repaired-audio"
CACHE_NAME = "recordings.parquet"
SCAN_COLUMNS = ["file", "duration_s", "rate_hz", "channels", "frames", "sha256"]
_KEY = ["file", "size", "mtime_ns", "sketch"]
_TYPES = {
    "file": "str", "size": "int64", "mtime_ns": "int64", "sketch": "str",
    "rate_hz": "int64", "channels": "int64", "frames": "int64", "sha256": "str",
    "fault": "str", "note": "str",
}  # fmt: skip
# How many files one problem names.
_NAMED = 5
# How many stretches of a file are looked at to see that it is the one that was hashed, of how much.
SKETCH_PLACES, SKETCH_BYTES = 9, 4096
# Hashing and reading headers wait for the disk and leave the interpreter free.
_THREADS = 8


def scan(
    files: Iterable[Path], cache_dir: str | os.PathLike[str] | None, rules: AudioRules
) -> tuple[pd.DataFrame, list[Problem]]:
    """Header and content hash of each file, from memory where the file has not changed.

    Args:
        files: absolute paths.
        cache_dir: folder of the table that remembers (by path, size, time of change and a sketch
            of the content); None: nothing is remembered.
        rules: how recordings are read.

    Returns:
        A table with `SCAN_COLUMNS`, sorted by file, of those that are to be read, and problems:
        one for each that is left out, and one for all that are repaired in one way. What the
        rules do not allow is fatal. Where another channel is read, the hash says so.
    """
    stats, problems = _stat(sorted(set(files)))
    cache = None if cache_dir is None else Path(cache_dir) / CACHE_NAME
    now = pd.DataFrame(stats, columns=_KEY).astype({name: _TYPES[name] for name in _KEY})
    merged = now.merge(_load(cache), on=_KEY, how="left")
    new = merged.loc[merged["sha256"].isna(), _KEY]
    found: list[dict] = []
    try:
        for row in _inspect(new.itertuples(index=False), len(new), rules):
            if isinstance(row, Problem):
                problems.append(row)
            else:
                found.append(row)
    finally:  # what was hashed before a Ctrl-C need not be hashed again
        if cache is not None and found:
            _save(cache, _typed(found))
    table = _typed([*merged.dropna().to_dict("records"), *found])
    table["duration_s"] = table["frames"] / table["rate_hz"]
    table = table.sort_values("file", ignore_index=True)
    stops = rules.broken == "stop"
    problems = [
        replace(one, message=one.message + "; left out" * (not stops), fatal=stops)
        for one in problems
    ]
    problems += _faults(table, len(table) + len(problems), rules.broken)
    if rules.broken != "repair":
        table = table.loc[table["fault"] == ""].reset_index(drop=True)
    if rules.channel != "auto":
        table["sha256"] += f"@channel={rules.channel}"
    return table.loc[:, SCAN_COLUMNS], problems


def _faults(table: pd.DataFrame, total: int, broken: str) -> list[Problem]:
    """What is broken of recordings that can be read, and what becomes of it."""
    found = []
    for fault, rows in table.loc[table["fault"] != ""].groupby("fault"):
        if broken == "repair":
            names = some([Path(file).name for file in rows["file"]], _NAMED)
            message = f"{len(rows)} of {total} recordings {fault}; read to their end: {names}"
            found.append(Problem(REPAIRED, "audio.broken=repair", message, False))
            continue
        advice = "left out" if broken == "skip" else "copy it again, or set audio.broken"
        for file, note in zip(rows["file"], rows["note"], strict=True):
            message = f"{note.partition('; read to')[0]}; {advice}"
            found.append(Problem(SKIPPED, file, message, broken == "stop"))
    return found


def _typed(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)


def _stat(files: list[Path]) -> tuple[list[tuple[str, int, int, str]], list[Problem]]:
    with ThreadPoolExecutor(_THREADS) as pool:
        rows = list(pool.map(_stat_one, files))
    problems = [row for row in rows if isinstance(row, Problem)]
    return [row for row in rows if not isinstance(row, Problem)], problems


def _stat_one(file: Path) -> tuple[str, int, int, str] | Problem:
    told = os.fsencode(file).decode("utf-8", "backslashreplace")
    if told != str(file):
        return Problem(UNREADABLE, told, "its name is no Unicode (UTF-8); rename it", False)
    try:
        if is_elsewhere(file):
            size, sketch = kept.stamp(file)
            return str(file), size, 0, sketch
        stat = file.stat()
        return str(file), stat.st_size, stat.st_mtime_ns, _sketch(file, stat.st_ctime_ns)
    except OSError as error:
        return Problem(UNREADABLE, str(file), f"cannot be opened ({error.strerror})", False)
    except UserError as error:
        message = str(error).removeprefix(f"{file}: ")
        return Problem(UNREADABLE, str(file), message, False)


def _sketch(path: Path, ctime_ns: int) -> str:
    """A hash of a file's head, its tail and samples between, which costs no time to speak of, and
    of when the disk last noted a change, which no program sets.

    Two cards of one kind of recorder hold files of the same name, size and time, and so does a file
    that was changed in its place: two whose sketches differ may be two, and the whole is hashed.
    """
    digest = hashlib.blake2b(str(ctime_ns).encode(), digest_size=16)
    if not path.is_file():  # a folder or a pipe, which whoever reads it tells of
        return ""
    with open(path, "rb") as handle:
        last = max(0, os.fstat(handle.fileno()).st_size - SKETCH_BYTES)
        for place in range(SKETCH_PLACES):
            handle.seek(last * place // (SKETCH_PLACES - 1))
            digest.update(handle.read(SKETCH_BYTES))
    return digest.hexdigest()


def _inspect(rows: Iterable, total: int, rules: AudioRules) -> Iterator[dict | Problem]:
    if not total:
        return
    pool = ThreadPoolExecutor(_THREADS)
    try:
        jobs = pool.map(partial(_inspect_one, rules=rules), rows)
        yield from track(jobs, total=total, label="reading recordings", unit="files")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _inspect_one(row, rules: AudioRules) -> dict | Problem:
    try:
        header = info(row.file, rules)
        if header.floats:  # samples that are no numbers stop a training or a search in its middle
            for _ in blocks(row.file, rules, block_s=60.0, rate_hz=None):
                pass
        return {
            **row._asdict(),
            "rate_hz": header.rate_hz,
            "channels": header.channels,
            "frames": header.frames,
            "sha256": content_hash(row.file),
            "fault": header.fault,
            "note": header.note,
        }
    except UserError as error:
        message = str(error).removeprefix(f"{row.file}: ")
    except OSError as error:
        message = f"cannot be read ({error.strerror})"
    return Problem(UNREADABLE, row.file, message, False)


def _load(cache: Path | None) -> pd.DataFrame:
    if cache is None or not cache.exists():
        return _typed([])
    try:
        return sealed.read_table(cache, list(_TYPES)).to_pandas().astype(_TYPES)
    except (OSError, ValueError):  # damaged: the files themselves are read again
        return _typed([])


def _save(cache: Path, found: pd.DataFrame) -> None:
    """Add to what is remembered. Of two processes at once the last wins; nothing true is lost."""
    table = pd.concat([_load(cache), found]).drop_duplicates("file", keep="last")
    sealed.write_table(pa.Table.from_pandas(table, preserve_index=False), cache)
