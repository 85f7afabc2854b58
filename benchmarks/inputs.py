"""What several benchmarks work on: noise in files and stores, its clips, v1 at its defaults."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from archs.protonet import ProtoNet
from g5.config.build import build
from g5.config.settings import load
from preprocessing.episodes.clips import ClipReader
from preprocessing.store.store import Store

SR, N_MELS, FRAME_RATE_HZ, CLIP_S = 22050, 128, 22050 / 256, 1.0


def noise_files(place: Path, count: int, seconds: float) -> list[Path]:
    """Recordings of noise as 16-bit WAV."""
    rng = np.random.default_rng(0)
    paths = [place / f"{number}.wav" for number in range(count)]
    for path in paths:
        x = 0.05 * rng.standard_normal(round(seconds * SR), dtype=np.float32)
        soundfile.write(path, x, SR, subtype="PCM_16")
    return paths


def key_of(number: int) -> str:
    """A recording's key in `filled_store`."""
    return f"{number:064d}"


def filled_store(folder: Path, recordings: Iterable[torch.Tensor]) -> Store:
    """A store of features, one recording after the other."""
    store = Store.open(folder, {"benchmark": "inputs"}, create=True)
    with store.writer() as writer:
        for number, features_TM in enumerate(recordings):
            writer.add(key_of(number), features_TM, {"mean": 0.0, "std": 1.0})
    return store


def clips_of(store: Store, events: pd.DataFrame) -> ClipReader:
    """Clips of one length around the middle of every event."""
    return ClipReader(
        store, events, frame_rate_hz=FRAME_RATE_HZ, clip="fixed", clip_s=CLIP_S,
        min_clip_s=CLIP_S, max_clip_s=CLIP_S, anchor="centre",
    )  # fmt: skip


def untrained(arch: str) -> ProtoNet:
    """A model at its defaults, as fast as a trained one."""
    torch.manual_seed(0)
    return build(load([f"arch={arch}"]).arch.model, expect=ProtoNet, where="arch.model").eval()
