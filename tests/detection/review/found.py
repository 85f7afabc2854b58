"""A folder as `g5 detect` leaves it: recordings with calls, and a table of events found."""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from scipy.special import expit

from preprocessing.annotations import write_events
from tests.detection.soundscapes import DOWN, RATE, UP, soundscape

LENGTH_S, APART_S, PER_RECORDING = 0.3, 1.5, 12


def make_found(folder: Path, *, recordings: int = 4, seed: int = 0) -> Path:
    """``found/`` beside ``recordings/``: every event is a rising call ("up") or a falling one.

    Rising calls have higher scores. All are found as "up".
    """
    rng = np.random.default_rng(seed)
    rows, ledger = [], []
    (folder / "recordings").mkdir(parents=True)
    for number in range(recordings):
        starts = 0.5 + APART_S * np.arange(PER_RECORDING)
        yes = rng.random(PER_RECORDING) < 0.7
        path = folder / "recordings" / f"night_{number}.wav"
        calls = {float(s): UP if is_up else DOWN for s, is_up in zip(starts, yes, strict=True)}
        seconds = PER_RECORDING * APART_S + 1
        soundfile.write(path, soundscape(seconds, calls, seed=number), RATE)
        scores = expit(rng.gamma(2, 0.5, PER_RECORDING) + 1.5 * yes)
        for start, score in zip(starts, scores, strict=True):
            rows.append((str(path), start, start + LENGTH_S, "up", "POS", 500.0, 2000.0, score))
        ledger.append((str(path), "done", "", PER_RECORDING, seconds))
    columns = ["file", "start_s", "end_s", "label", "status", "low_hz", "high_hz", "score"]
    (folder / "found").mkdir()
    write_events(pd.DataFrame(rows, columns=columns), folder / "found" / "predictions.csv", "csv")
    table = pd.DataFrame(ledger, columns=["file", "status", "reason", "events", "duration_s"])
    table.to_csv(folder / "found" / "ledger.csv", index=False)
    return folder / "found"


def is_call(file: str, start_s: float) -> bool:
    """Whether an event of `make_found` is a rising call: what a person would see."""
    x_T, rate = soundfile.read(file, start=round(start_s * RATE), frames=round(LENGTH_S * RATE))
    spectrum = np.abs(np.fft.rfft(x_T))
    return bool(np.argmax(spectrum) * rate / len(x_T) < 2200)
