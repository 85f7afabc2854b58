"""What `g5 detect` writes: events tables in every format asked for."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from detection.ledger import CANDIDATES, DONE, EVENTS, Ledger
from detection.support import Target
from evaluation.ground_truth import CANDIDATES_CSV, PREDICTIONS
from preprocessing.annotations import SUFFIXES, write_events


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


def write_results(
    ledger: Ledger, out: Path, formats: Sequence[str], targets: Sequence[Target]
) -> tuple[pd.DataFrame, list[Path]]:
    """Write the ledger, and all events in every format; the events, and the files but candidates.

    Args:
        ledger: knows the events of all files that are done.
        out: folder.
        formats: names of formats beside CSV.
        targets: the species.
    """
    events = _all(ledger, EVENTS)
    written = [ledger.write(), write_events(events, out / PREDICTIONS, "csv")]
    write_events(_all(ledger, CANDIDATES), out / CANDIDATES_CSV, "csv")
    for name in formats:
        if name == "csv":
            continue
        if name in ("raven", "audacity"):
            stems = [Path(entry.file).stem for entry in ledger.entries.values()]
            for file, rows in events.groupby("file", sort=True):
                path = Path(str(file))
                alone = stems.count(path.stem) < 2
                stem = path.stem if alone else f"{path.stem}.{place_of(path)}"
                written.append(write_events(rows, out / f"{stem}{SUFFIXES[name]}", name))
        elif name == "dcase":
            after = _after_support(events, targets)
            written.append(write_events(after, out / "predictions_dcase.csv", name))
        else:
            written.append(write_events(events, out / f"predictions{SUFFIXES[name]}", name))
    return events, written


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
