"""A small store of embeddings with sound behind it, for the tests of what is done with stores."""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from g5.embeddings.vectors import EncoderFacts, VectorStore

RATE_HZ = 8000
CLASSES = ("high", "low", "rising")
WIDTH = 16


def facts(width: int = WIDTH) -> EncoderFacts:
    """An encoder that never was."""
    return EncoderFacts("test", "0" * 16, width, RATE_HZ, 0.3)


def call(kind: str, rng: np.random.Generator) -> np.ndarray:
    """0.3 s of a tone in noise."""
    t = np.arange(int(0.3 * RATE_HZ)) / RATE_HZ
    f0 = {"high": 3000.0, "low": 700.0, "rising": 1000.0}[kind] * rng.uniform(0.9, 1.1)
    slope = 4000.0 if kind == "rising" else 0.0
    tone = 0.5 * np.sin(2 * np.pi * (f0 * t + slope * t**2 / 2)) * np.hanning(len(t))
    return tone + 0.02 * rng.standard_normal(len(t))


def make_store(folder: Path, *, recordings: int = 12, calls: int = 5) -> VectorStore:
    """``birds.store`` beside ``audio/``: every call is a vector, near those of its class."""
    rng = np.random.default_rng(0)
    centre = {kind: rng.standard_normal(WIDTH) for kind in CLASSES}
    rows, vectors = [], []
    (folder / "audio").mkdir(parents=True)
    for number in range(recordings):
        kinds = [CLASSES[(number + i) % 3] for i in range(calls)]
        quiet = 0.002 * rng.standard_normal(int(0.2 * RATE_HZ))
        parts = [part for kind in kinds for part in (quiet, call(kind, rng))]
        name = f"rec{number:02d}.wav"
        soundfile.write(folder / "audio" / name, np.concatenate([*parts, quiet]), RATE_HZ)
        for i, kind in enumerate(kinds):
            date = f"2026-05-{number + 1:02d}"
            rows.append((name, 0.2 + 0.5 * i, 0.5 + 0.5 * i, f"site{number % 4}", date))
            vectors.append(centre[kind] + 0.5 * rng.standard_normal(WIDTH))
    index = pd.DataFrame(rows, columns=["file", "start_s", "end_s", "source", "date"])
    store = VectorStore.create(folder / "birds.store", facts(), audio_root=folder / "audio")
    store.ingest(np.array(vectors, np.float32), index)
    return store


def kind_of(row: int, calls: int = 5) -> str:
    """The true class of a row."""
    return CLASSES[(row // calls + row % calls) % 3]
