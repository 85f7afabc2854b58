"""The report of a test on 100 classes: how long it takes to draw and write, and what it weighs."""

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile

import g5.runs.test
from archs.train import launch
from benchmarks import Claim

CLASSES = {"train": 12, "val": 12, "test": 100}
CLIPS, RATE_HZ = 8, 16000
LONGEST_S, HEAVIEST_MB = 60.0, 10.0


def rows() -> Iterator[Claim]:
    """A run on tones in noise, hardly trained, so that there are mistakes to show."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)
        try:
            write_clips()
            seconds, cpu_s = _seconds_of_the_report()
            (report,) = Path("outputs").glob("*/*/report.html")
            megabytes = report.stat().st_size / 1e6
        finally:
            os.chdir(here)
    name = "report of a test on 100 classes"
    note = f"figures, page and model card; {cpu_s:.0f} s of CPU"
    yield Claim(f"{name}, time", seconds, LONGEST_S, "s", 1.0, note=note)
    yield Claim(f"{name}, size", megabytes, HEAVIEST_MB, "MB", 1.0, note="one HTML file")


def _seconds_of_the_report() -> tuple[float, float]:
    """By the clock, and of the processor."""
    seconds: list[tuple[float, float]] = []
    write = g5.runs.test._write

    def timed(*parts: Any) -> Any:
        start, cpu = time.perf_counter(), time.process_time()
        made = write(*parts)
        seconds.append((time.perf_counter() - start, time.process_time() - cpu))
        return made

    with mock.patch.object(g5.runs.test, "_write", timed):
        launch(
            ["arch=v1", "debug=fast", "data=clips", "path.train_dir=clips.csv", "logger=none",
             "arch.episodes.n_way=10", "arch.episodes.test_episodes=1000"]
        )  # fmt: skip
    (one,) = seconds
    return one


def write_clips() -> None:
    """`clips.csv` and its recordings in the current directory."""
    rng = np.random.default_rng(0)
    t = np.arange(RATE_HZ // 2) / RATE_HZ
    lines = ["file,label,source,split"]
    for split, count in CLASSES.items():
        for number in range(count):
            hz, slope = rng.uniform(500, 4000), rng.uniform(-3000, 3000)
            for clip in range(CLIPS):
                wave = 0.3 * np.sin(2 * np.pi * (hz * t + slope * t**2 / 2)) * np.hanning(len(t))
                name = f"{split}{number:03d}_{clip}.wav"
                soundfile.write(name, wave + 0.05 * rng.standard_normal(len(t)), RATE_HZ)
                lines.append(f"{name},{split} species {number:03d},{name},{split}")
    Path("clips.csv").write_text("\n".join(lines) + "\n", "utf-8")
