"""Recordings with calls at known times, and what looks for them in the tests of detection."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from archs.v1.arch import ProtoNetV1
from archs.v2.arch import ProtoNetV2
from g5.config.settings import load
from g5.detection.embedding.checkpoint_embedder import CheckpointEmbedder
from g5.detection.embedding.sound import Sound, Sounds
from g5.tracking.restore import Restored
from preprocessing.audio import content_hash
from preprocessing.frontend import LogMel
from preprocessing.normalize import Normalize

RATE = 8000
CPU = torch.device("cpu")
MEL = {"sr": RATE, "n_fft": 256, "hop_mel": 128, "n_mels": 16, "fmin": 50, "fmax": 4000}


def chirp(seconds: float, low_hz: float, high_hz: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (low_hz * t + (high_hz - low_hz) * t**2 / (2 * seconds))
    return 0.5 * np.sin(phase) * np.hanning(len(t)) ** 0.25


def soundscape(seconds: float, calls: dict[float, np.ndarray], seed: int = 0) -> np.ndarray:
    x = 0.01 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    for start, call in calls.items():
        first = round(start * RATE)
        x[first : first + len(call)] += call
    return x.astype(np.float32)


UP, DOWN = chirp(0.3, 600, 1800), chirp(0.3, 3500, 2500)
CALLS_S = [1.0, 3.1, 5.3, 7.2, 9.4, 13.0, 15.5, 18.2, 21.1, 24.6]
OTHERS_S = [2.0, 6.1, 8.3, 11.7, 16.9, 19.9, 23.0]


def restored(arch: str) -> Restored:
    """An untrained encoder, which random projections make a fair judge of likeness."""
    torch.manual_seed(0)
    distance = {"distance": "euclidean", "cosine_scale": 1.0, "normalize": "none"}
    if arch == "v1":
        model = ProtoNetV1(channels=[8, 16], dropout=0.0, **distance)
    else:
        model = ProtoNetV2(
            channels=[8, 16], se_reduction=4, attention_heads=2, dropout=0.0, embedding_dim=32,
            input_channels=1, metric_rank=4, metric_shrink=0.5, scatter_floor=None,
            distance_hidden=[8], distance_share=0.05,
            frequency_bins=2, band_statistics=4,
            timbre_dim=0, timbre_sharpness=5.0, timbre_weight=0.25,
            **distance,
        )  # fmt: skip
    # Statistics as if it had been trained.
    model(torch.randn(8, 1, 16, 40))
    model.eval()
    config = load([f"arch={arch}"]).plain()
    normalize = Normalize(mode="recording", n_mels=16)
    return Restored(model, LogMel(**MEL, floor_db=-100), normalize, config, {}, {}, Path("x.ckpt"))


def opened(path: Path, store: Path, **more) -> Sound:
    settings = {"sr": "checkpoint", "time_expansion": 1.0, "block_s": 3.0, **more}
    return Sounds(LogMel(**MEL, floor_db=-100), store, **settings).open(path, content_hash(path))


def embedder(arch: str, store: Path, workers: int = 1, share: bool = True) -> CheckpointEmbedder:
    return CheckpointEmbedder(
        restored(arch), store, device=CPU, batch=8, workers=workers, share=share
    )


def audacity(path: Path, calls: dict[str, list[float]], length: float = 0.3) -> Path:
    rows = sorted((start, label) for label, starts in calls.items() for start in starts)
    path.write_text("".join(f"{a}\t{a + length}\t{label}\n" for a, label in rows))
    return path


def predictions(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv")


def overlap(found: pd.DataFrame, starts: list[float], length: float = 0.3) -> int:
    return sum(bool(((found["start_s"] < s + length) & (found["end_s"] > s)).any()) for s in starts)
