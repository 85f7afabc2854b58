"""Your own encoder and your own rating head, end to end, on 30 s clips at 22,050 Hz.

    python examples/hello_world.py

makes clips in ./hello_world/ (from quiet to busy with calls, rated from 0 to 1), checks both
classes, embeds the clips, trains the head under cross-validation and ranks the clips. Every step is
a `g5` command that you could type; it is printed before it runs.
"""

import csv
import os
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

RATE_HZ, CLIP_S, N_CLIPS = 22050, 30.0, 24


class MyEncoder(nn.Module):
    """Waveforms (batch, samples) to embeddings (batch, embedding_dim)."""

    sample_rate = RATE_HZ
    window_s = CLIP_S

    def __init__(self, embedding_dim: int = 64) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.filters = nn.Conv1d(1, 32, kernel_size=256, stride=128)
        self.projection = nn.Linear(64, embedding_dim)

    def forward(self, wave: Tensor) -> Tensor:
        energy = torch.log(self.filters(wave[:, None]).square() + 1e-4)
        return self.projection(torch.cat([energy.mean(dim=2), energy.std(dim=2)], dim=1))


class MyHead(nn.Module):
    """Embeddings (batch, embedding_dim) to ratings (batch, 1) in [0, 1]."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(embedding_dim, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid()
        )

    def forward(self, embedding: Tensor) -> Tensor:
        return self.layers(embedding)


def make_clips(folder: Path) -> None:
    """Clips with more and more calls over noise, and a table of ratings."""
    rng = np.random.default_rng(0)
    t = np.arange(round(0.3 * RATE_HZ)) / RATE_HZ
    rows = []
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    for number in range(N_CLIPS):
        rating = number / (N_CLIPS - 1)
        wave = 0.02 * rng.normal(size=round(CLIP_S * RATE_HZ))
        for _ in range(round(40 * rating)):
            start = rng.integers(0, len(wave) - len(t))
            call = np.sin(2 * np.pi * rng.uniform(1000, 4000) * t) * np.hanning(len(t))
            wave[start : start + len(t)] += 0.3 * call
        name = f"clip_{number:02d}.flac"
        soundfile.write(folder / "clips" / name, wave.clip(-1, 1), RATE_HZ)
        rows.append((name, f"{rating:.3f}", name))
    with open(folder / "ratings.csv", "w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("file", "rating", "source"), *rows])


def g5(*arguments: str) -> None:
    """Run a `g5` command, as if it had been typed."""
    from g5.cli.main import main

    print(f"\n$ g5 {' '.join(arguments)}", flush=True)
    code = main(args=list(arguments), prog_name="g5", standalone_mode=False)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))  # `hello_world` is importable
    place = Path("hello_world")
    make_clips(place)
    os.chdir(place)
    try:
        g5("encoders", "check", "hello_world.MyEncoder", "--head", "hello_world.MyHead")
    except SystemExit as stop:
        if stop.code:
            raise
    g5("embed", "hello_world.MyEncoder", "clips", "-o", "clips.store")
    heads = "classify.heads=[linear,hello_world.MyHead]"
    g5("classify", "clips.store", "--labels", "ratings.csv", "classify.task=rating", heads)
    # What a file names is imported by your word alone.
    named = "head._target_=hello_world.MyHead"
    g5("predict", "clips.head", "clips.store", "-o", "busiest.csv", "--top", "5", named)
    print(Path("busiest.csv").read_text(encoding="utf-8"))
