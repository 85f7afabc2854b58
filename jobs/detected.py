"""What `g5 detect` writes: events tables in every format asked for."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from detection.ledger import CANDIDATES, DONE, EVENTS, Ledger
from detection.support import Target
from evaluation.ground_truth import CANDIDATES_CSV, PREDICTIONS
from preprocessing.annotations import SUFFIXES, write_events
from preprocessing.errors import UserError

# Formats with a table for each recording.
EACH = ("raven", "audacity")


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
        "nearest": events["nearest"],
    })  # fmt: skip
    if bool(table[["low_hz", "high_hz"]].isna().to_numpy().all()):
        table = table.drop(columns=["low_hz", "high_hz"])
    return table


def refuse_to_overwrite(
    ledger: Ledger, formats: Sequence[str], files: Sequence[Path], inputs: Sequence[Path | None]
) -> None:
    """Results may replace earlier results, but neither the inputs nor what somebody else made.

    Raises:
        UserError: they would.
    """
    own = ledger.parts.is_dir()
    read = {path.resolve() for path in inputs if path is not None}
    tables = [*_whole(ledger.folder, formats).values()]
    for name in formats:
        if name in EACH:
            tables += _each(ledger.folder, name, files).values()
    for path in tables:
        if path.resolve() in read:
            raise UserError(
                f"{path}: is an input, and the results would replace it; set another -o"
            )
        if path.exists() and not own:
            raise UserError(
                f"{path}: is there, and of no earlier detection; set another -o, or move it"
            )


def write_results(
    ledger: Ledger, formats: Sequence[str], targets: Sequence[Target], files: Sequence[Path]
) -> tuple[pd.DataFrame, list[Path]]:
    """Write the ledger, and all events in every format; the events, and the files but candidates.

    Args:
        ledger: knows the events of all files that are done.
        formats: names of formats beside CSV.
        targets: the species.
        files: all recordings of the job, done or not.
    """
    out, events = ledger.folder, _all(ledger, EVENTS)
    whole = _whole(out, formats)
    written = [ledger.write(), write_events(events, whole["csv"], "csv")]
    write_events(_all(ledger, CANDIDATES), out / CANDIDATES_CSV, "csv")
    for name in formats:
        if name == "csv":
            continue
        if name in EACH:
            done = {e.file for e in ledger.entries.values() if e.status == DONE}
            for file, path in sorted(_each(out, name, files).items()):
                # Where nothing was found, too: an earlier table would tell of what is no more.
                if str(file) in done:
                    rows = events.loc[events["file"] == str(file)]
                    written.append(write_events(rows, path, name))
        else:
            rows = _after_support(events, targets) if name == "dcase" else events
            written.append(write_events(rows, whole[name], name))
    return events, written


def _whole(out: Path, formats: Sequence[str]) -> dict[str, Path]:
    """By format, the table of all recordings; a CSV is always among them."""
    names = {"dcase": "predictions_dcase.csv", "parquet": f"predictions{SUFFIXES['parquet']}"}
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


def _all(ledger: Ledger, which: str) -> pd.DataFrame:
    """The events of all files that are done, or their candidates."""
    done = [e.file for e in ledger.entries.values() if e.status == DONE]
    tables = [ledger.events_of(file, which) for file in sorted(done)]
    filled = [table for table in tables if len(table)]
    columns = ["file", "start_s", "end_s", "label", "status", "score"]
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
