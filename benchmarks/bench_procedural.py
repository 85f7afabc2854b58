"""Procedural recordings: how many times faster than real time one core makes them."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks import Claim
from preprocessing.synthetic.procedural import ProceduralData, RecordingJob, write_recording

CONFIG = Path(__file__).parents[1] / "conf" / "data" / "procedural.yaml"
RECORDINGS = 24


def rows() -> Iterator[Claim]:
    """Default settings, from numbers to WAV and CSV on the disk, in one process."""
    values = yaml.safe_load(CONFIG.read_text("utf-8"))
    del values["_target_"]
    with tempfile.TemporaryDirectory() as folder:
        places = {"root_dir": folder, "train_dir": None, "eval_dir": None, "test_dir": None}
        settings = ProceduralData(**{**values, **places}).settings
        # Spread over the set: neighbours in number are neighbours in pitch.
        numbers = range(0, settings.recordings("train"), settings.recordings("train") // RECORDINGS)
        jobs = [
            RecordingJob(settings, "train", i, Path(folder) / f"train_{i:05d}.wav") for i in numbers
        ]
        write_recording(jobs[0])
        sound_s = settings.recording_s * len(jobs)
        wall, core = time.perf_counter(), time.process_time()
        for job in jobs:
            write_recording(job)
        wall, core = time.perf_counter() - wall, time.process_time() - core
    yield Claim(
        name="procedural recordings, per core",
        ours=sound_s / core,
        reference=100.0,
        unit="x real time",
        limit=1.0,
        at_least=True,
        note=f"core time; {sound_s / wall:.0f} x by the clock, beside whatever else ran",
    )
