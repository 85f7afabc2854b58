"""Vectors into a store, recordings into vectors, and a head trained again."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks import Claim, alternate
from benchmarks.inputs import N_MELS, SR, noise_files, untrained
from g5.config.parts import front_end_of
from g5.config.schema import EmbedSettings
from g5.config.settings import load
from g5.embeddings.embedding import embed_recordings
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.vectors import EncoderFacts, VectorStore
from g5.transfer import EmbeddingHead
from preprocessing.normalize import Normalize

VECTORS, DIM = 200_000, 1024
RECORDINGS, RECORDING_S = 6, 60.0
# As in conf/transfer.yaml; v1's forward of a minute at once takes longer.
BATCH, MINUTE = 16, 60
TURNS = 3


def rows() -> Iterator[Claim]:
    """Wall time throughout; embedding and the encoder's forward alternate."""
    with tempfile.TemporaryDirectory() as place:
        yield from _ingest(Path(place))
        yield from _embedding(Path(place))
    yield from _heads()


def _ingest(place: Path) -> Iterator[Claim]:
    vectors = np.random.default_rng(0).standard_normal((VECTORS, DIM), dtype=np.float32)
    index = pd.DataFrame({"file": [f"{n // 100}.wav" for n in range(VECTORS)]})
    index["start_s"] = np.arange(VECTORS) % 100 * 1.0
    index["end_s"] = index["start_s"] + 1
    facts = EncoderFacts("benchmark", "0", DIM, SR, 1.0)
    rates, opening = [], []
    for turn in range(TURNS):
        store = VectorStore.create(place / f"{turn}.store", facts)
        start = time.perf_counter()
        store.ingest(vectors, index)
        rates.append(VECTORS / (time.perf_counter() - start))
        start = time.perf_counter()
        assert VectorStore.open(store.path).vectors.shape == vectors.shape
        opening.append(time.perf_counter() - start)
    yield Claim(
        "vectors, ingest of ready ones", median(rates), 50e3, "vectors/s", 1.0, at_least=True,
        note=f"{VECTORS:,} x {DIM} float32, to the disk (fsync)",
    )  # fmt: skip
    yield Claim("vectors, opening the store", median(opening), 1.0, "s", 1.0, note=f"{VECTORS:,}")


def _embedding(place: Path) -> Iterator[Claim]:
    encoder = _v1()
    files = [path.absolute() for path in noise_files(place, RECORDINGS, RECORDING_S)]
    settings = EmbedSettings(hop_s=None, batch_size=BATCH, block_s=60.0, device="auto")
    x_B1MT = torch.randn(round(RECORDINGS * RECORDING_S), 1, 128, 86)
    wave_BS = 0.05 * torch.randn(len(x_B1MT), SR)
    forwards = {
        f"forward, batches of {BATCH}": (encoder.module, x_B1MT.split(BATCH)),
        f"forward, batches of {MINUTE}": (encoder.module, x_B1MT.split(MINUTE)),
        f"front end and forward, batches of {BATCH}": (encoder.forward, wave_BS.split(BATCH)),
    }

    def embed() -> None:
        folder = Path(tempfile.mkdtemp(dir=place))
        store = VectorStore.create(folder / "v1.store", encoder.facts(), audio_root=place)
        embed_recordings(encoder, store, files, place.absolute(), settings)

    def forward(function: Callable[[Tensor], object], batches: Sequence[Tensor]) -> None:
        with torch.inference_mode():
            for batch in batches:
                function(batch)

    sides = {name: partial(forward, *parts) for name, parts in forwards.items()}
    seconds = alternate({"ours": embed, **sides}, TURNS)
    for name in forwards:
        yield Claim(
            f"embedding, v1, recordings to store / {name}",
            seconds["ours"], seconds[name], "s", 1.2,
            note=f"{RECORDINGS} min of sound; the encoder's forward on what is in memory",
        )  # fmt: skip


def _v1() -> LoadedEncoder:
    model, settings = untrained("v1"), load(["arch=v1"])
    parts = front_end_of(settings), Normalize(mode="recording", n_mels=N_MELS)
    width = model.embedding_dim
    return LoadedEncoder("v1", model, width, SR, 1.0, *parts, "checkpoint", {})


def _heads() -> Iterator[Claim]:
    rng = np.random.default_rng(0)
    class_N = rng.integers(0, 23, 5000)
    x_ND = 0.15 * rng.standard_normal((23, DIM))[class_N] + rng.standard_normal((5000, DIM))
    x_ND = x_ND.astype(np.float32)
    for network, hidden in (("linear", 128), ("mlp", 128), ("projection", 512)):
        head = EmbeddingHead(network=network, hidden_dim=hidden)
        seconds = alternate({"fit": lambda head=head: head.fit(x_ND, class_N)}, TURNS)["fit"]
        yield Claim(
            f"head, {network}, trained again", seconds, 2.0, "s", 1.0,
            note=f"5,000 x {DIM}, 23 classes",
        )  # fmt: skip
