"""What `g5 detect` writes: events tables in every format asked for."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from g5.detection.job.manifest import CANDIDATES, DONE, EVENTS, Manifest
from g5.detection.job.times import RecordingTimes
from g5.detection.review.table import SIGNED, sign
from g5.detection.support import Target
from g5.evaluation.events.ground_truth import CANDIDATES_CSV, LEDGER, PREDICTIONS, SUPPORT_CSV
from preprocessing.annotations import OF_ONE, SUFFIXES, write_events

# Formats with a table for each recording.
EACH = ("raven", *OF_ONE)
REPORT = "report.html"


def rows_of(events: pd.DataFrame, file: Path, targets: Sequence[Target]) -> pd.DataFrame:
    """Events found as the events table: which file, and the band of the species' boxes."""
    bands = {target.label: _band(target) for target in targets}
    table = pd.DataFrame({
        "file": str(file),
        "start_s": events["start_s"], "end_s": events["end_s"], "label": events["label"],
        "status": "POS",
        "low_hz": [bands[label][0] for label in events["label"]],
        "high_hz": [bands[label][1] for label in events["label"]],
        "score": events["score"], "distance": events["distance"].astype(float),
        "nearest": events["nearest"], "support": events["support"],
    })  # fmt: skip
    if bool(table[["low_hz", "high_hz"]].isna().to_numpy().all()):
        table = table.drop(columns=["low_hz", "high_hz"])
    return table


def refuse_to_overwrite(
    manifest: Manifest, results: Iterable[Path], inputs: Iterable[Path]
) -> None:
    """Results may replace earlier results, but neither the inputs nor what somebody else made.

    Args:
        manifest: knows what earlier jobs wrote.
        results: all that this job may write, from `results_of`.
        inputs: all files that it reads.

    Raises:
        UserError: they would.
    """
    own = manifest.written()
    read = {path.resolve() for path in inputs}
    for path in results:
        if path.resolve() in read:
            raise UserError(
                f"{path}: is an input, and the results would replace it; set another -o"
            )
        if path.exists() and path not in own:
            raise UserError(
                f"{path}: is there, and of no earlier detection; set another -o, or move it"
            )


def results_of(
    out: Path, formats: Sequence[str], files: Sequence[Path], *, pictures: bool
) -> list[Path]:
    """All that a job may write into ``out``, its notes in `.parts` aside."""
    results = [out / name for name in (LEDGER, CANDIDATES_CSV, SUPPORT_CSV)]
    results += _whole(out, formats).values()
    for name in formats:
        if name in EACH:
            results += _each(out, name, files).values()
    return results + (pictures_of(out, files) if pictures else [])


def pictures_of(out: Path, files: Iterable[Path]) -> list[Path]:
    """The page, and the picture of every recording."""
    return [out / REPORT, *(picture_of(out, file) for file in files)]


def picture_of(out: Path, file: Path) -> Path:
    """Where a recording's picture lies: by its name, told apart by its place."""
    return out / "pictures" / f"{file.stem}.{place_of(file)}.png"


def write_results(
    manifest: Manifest, formats: Sequence[str], targets: Sequence[Target], files: Sequence[Path],
    times: RecordingTimes,
) -> tuple[pd.DataFrame, list[Path]]:  # fmt: skip
    """Write the manifest, and all events in every format; the events, and the files but candidates.

    Args:
        manifest: knows the events of all files that are done.
        formats: names of formats beside CSV.
        targets: the species.
        files: all recordings of the job, done or not.
        times: when they were made.
    """
    out, events = manifest.folder, times.beside(_all(manifest, EVENTS))
    whole = _whole(out, formats)
    done = {entry.file for entry in manifest.done_entries()}
    # Where nothing was found, too: an earlier table would tell of what is no more.
    each = [
        (name, file, path)
        for name in formats if name in EACH
        for file, path in sorted(_each(out, name, files).items()) if str(file) in done
    ]  # fmt: skip
    # Not those of recordings that failed: nothing of ours is there.
    tables = [*whole.values(), *(path for _, _, path in each)]
    _remove_earlier(manifest, files)
    manifest.will_write([out / LEDGER, out / CANDIDATES_CSV, *tables])
    written = [manifest.write(times.beside(manifest.table()))]
    (out / SIGNED).unlink(missing_ok=True)  # what a kill leaves was changed by nobody
    candidates = times.beside(_all(manifest, CANDIDATES))
    write_events(candidates, out / CANDIDATES_CSV, "csv")
    for name, path in whole.items():
        rows = _after_support(events, targets) if name == "dcase" else events
        written.append(write_events(rows, path, name))
    sign(out, predictions=events, candidates=candidates)
    for name, file, path in each:
        written.append(write_events(events.loc[events["file"] == str(file)], path, name))
    return events, written


def _remove_earlier(manifest: Manifest, files: Sequence[Path]) -> None:
    """Remove an earlier job's tables of recordings that are left out now, or cannot be read.

    Pictures stay: they are not drawn again when these are asked for again.
    """
    own, entries = manifest.written(), manifest.entries
    gone = [f for f in files if str(f) in entries and entries[str(f)].status != DONE]
    for tables in [_each(manifest.folder, name, files) for name in EACH] if gone else []:
        for path in own & {tables[file] for file in gone}:
            path.unlink(missing_ok=True)


def write_support(manifest: Manifest, support: pd.DataFrame) -> Path:
    """Write what the job goes by: another may go on from it."""
    path = manifest.folder / SUPPORT_CSV
    manifest.will_write([path])
    return write_events(support, path, "csv")


def _whole(out: Path, formats: Sequence[str]) -> dict[str, Path]:
    """By format, the table of all recordings; a CSV is always among them."""
    names = {name: f"predictions{end}" for name, end in SUFFIXES.items() if name not in EACH}
    names["dcase"] = "predictions_dcase.csv"
    return {"csv": out / PREDICTIONS} | {
        name: out / names[name] for name in formats if name in names
    }


def _each(out: Path, format: str, files: Sequence[Path]) -> dict[Path, Path]:
    """By recording, its own table in a format."""
    count = Counter(file.stem for file in files)
    stems = {f: f.stem if count[f.stem] < 2 else f"{f.stem}.{place_of(f)}" for f in files}
    return {file: out / f"{stem}{SUFFIXES[format]}" for file, stem in stems.items()}


def place_of(file: Path) -> str:
    """Six hex digits of a path: tells apart recordings of one name."""
    return hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:6]


def _all(manifest: Manifest, which: str) -> pd.DataFrame:
    """The events of all files that are done, or their candidates."""
    done = sorted(entry.file for entry in manifest.done_entries())
    tables = [manifest.events_of(file, which) for file in done]
    filled = [table for table in tables if len(table)]
    columns = ["file", "start_s", "end_s", "label", "status", "score", "support"]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=columns)


def _after_support(events: pd.DataFrame, targets: Sequence[Target]) -> pd.DataFrame:
    """What the challenge asks for: nothing that ends before the last support call does."""
    last: dict[tuple[str, str], float] = {}
    for target in targets:
        for shot in target.shots:
            key = (str(shot.sound.path), target.label)
            last[key] = max(last.get(key, 0.0), shot.end_s)
    keys = zip(events["file"], events["label"], strict=True)
    ends = np.array([last.get(key, -np.inf) for key in keys])
    return events.loc[events["end_s"].to_numpy(float) > ends]


def _band(target: Target) -> tuple[float, float]:
    low = [shot.low_hz for shot in target.shots]
    high = [shot.high_hz for shot in target.shots]
    if np.isnan(low).any() or np.isnan(high).any():
        return float("nan"), float("nan")
    return float(min(low)), float(max(high))
