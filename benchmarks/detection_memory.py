"""Peak anonymous memory of `g5 detect` on recordings of some lengths, to see that it stays.

    python -m benchmarks.detection_memory CKPT [hours=1,3] [key=value ...]

Makes a 48 kHz FLAC per length, minute after minute, in a temporary folder (2.5 GB for 24 hours, and
as much again for the store), detects in it with the overrides given, and prints a row each.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

SR, LIMIT_MB = 48000, 1500
CALL_S, CALLS_S = 0.6, (3.0, 14.0, 27.0, 36.0, 48.0)


def main(arguments: Sequence[str]) -> int:
    """Print a Markdown table; 1 if a length takes more than `LIMIT_MB`, or `g5 detect` fails."""
    hours = [a.removeprefix("hours=") for a in arguments if a.startswith("hours=")]
    checkpoint, *overrides = [a for a in arguments if not a.startswith("hours=")]
    print("| hours | peak anonymous memory, MB | limit | met | x real time | exit code |")
    print("| ---: | ---: | ---: | --- | ---: | ---: |", flush=True)
    failed = 0
    for length in (hours[0] if hours else "1,3").split(","):
        seconds = 3600 * float(length)
        with tempfile.TemporaryDirectory() as place:
            _recording(Path(place), seconds)
            start = time.perf_counter()
            peak_mb, code = _watched(Path(checkpoint).absolute(), Path(place), overrides)
            speed = seconds / (time.perf_counter() - start)
        met = peak_mb < LIMIT_MB and not code
        failed += not met
        print(f"| {length} | {peak_mb:.0f} | {LIMIT_MB} | {'yes' if met else 'NO'} | "
              f"{speed:.0f} | {code} |", flush=True)  # fmt: skip
    return int(failed > 0)


def _recording(place: Path, seconds: float) -> None:
    """A minute of quiet noise with five calls, again and again; the first five are marked."""
    x_T = 0.001 * np.random.default_rng(0).standard_normal(60 * SR)
    t = np.arange(round(CALL_S * SR)) / SR
    for start in CALLS_S:
        first = round(start * SR)
        x_T[first : first + len(t)] += 0.1 * np.sin(2 * np.pi * 4000 * t) * np.hanning(len(t))
    block_T = (x_T * 2**15).astype(np.int16)
    with soundfile.SoundFile(place / "night.flac", "w", SR, 1, subtype="PCM_16") as file:
        left = round(seconds * SR)
        while left > 0:
            file.write(block_T[:left])
            left -= len(block_T)
    rows = [f"night.flac,{start},{start + CALL_S},call\n" for start in CALLS_S]
    (place / "five.csv").write_text("file,start_s,end_s,label\n" + "".join(rows), "utf-8")


def _watched(checkpoint: Path, place: Path, overrides: Sequence[str]) -> tuple[float, int]:
    """The greatest RssAnon that `g5 detect` had, MB, and its exit code."""
    command = ["detect", str(checkpoint), "night.flac", "--support", "five.csv", *overrides]
    code = "from g5.cli.main import main; main(prog_name='g5')"
    process = subprocess.Popen([sys.executable, "-c", code, *command], cwd=place)
    peak_kb, status = 0, Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        found = re.search(r"RssAnon:\s*(\d+)", status.read_text("utf-8"))
        peak_kb = max(peak_kb, int(found[1]) if found else 0)
        time.sleep(0.02)
    return peak_kb / 1000, process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
