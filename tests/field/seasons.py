"""Seasons as `g5 detect` leaves them behind: ledger and events, without any sound."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd


def ledger_row(file: str, *, seconds: float = 60.0, status: str = "done", **more) -> dict:
    return {"file": file, "status": status, "reason": "", "events": 0, "support": 0,
            "duration_s": seconds, **more}  # fmt: skip


def write_found(
    folder: Path, ledger: Sequence[dict], events: Sequence[tuple[str, float]] | pd.DataFrame,
    label: str = "owl",
) -> Path:  # fmt: skip
    """A folder of a detection."""
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(ledger).to_csv(folder / "ledger.csv", index=False)
    if not isinstance(events, pd.DataFrame):
        events = pd.DataFrame(events, columns=["file", "start_s"]).assign(label=label)
    rows = events.assign(end_s=events["start_s"] + 0.5, status="POS", score=0.9, support=False)
    columns = ["file", "start_s", "end_s", "label", "status", "score", "support"]
    rows.loc[:, columns].to_csv(folder / "predictions.csv", index=False)
    support = {"file": ["shots.wav"], "start_s": [0.0], "end_s": [0.5], "label": [label]}
    pd.DataFrame(support).assign(status="POS").to_csv(folder / "support.csv", index=False)
    return folder


def names(recorder: str, first: datetime, last: datetime, every: timedelta) -> list[str]:
    """Files of a recorder from ``first`` up to ``last``, this excluded."""
    count = int((last - first) / every)
    moments = [first + every * k for k in range(count)]
    return [f"/cards/{recorder}/{recorder}_{moment:%Y%m%d_%H%M%S}.wav" for moment in moments]
