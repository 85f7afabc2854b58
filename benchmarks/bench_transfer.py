"""Vectors into a store, recordings into vectors, and a head trained again."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import soundfile
import torch

from archs.v1.arch import ProtoNetV1
from benchmarks import Claim
from g5.config.schema import EmbedSettings
from g5.embeddings.embedding import embed_recordings
from g5.embeddings.encoders import LoadedEncoder
from g5.embeddings.vectors import EncoderFacts, VectorStore
from g5.transfer import EmbeddingHead
from preprocessing.frontend import LogMel
from preprocessing.normalize import Normalize

VECTORS, DIM = 200_000, 1024
SR, RECORDINGS, RECORDING_S = 22050, 6, 60.0
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
    rng = np.random.default_rng(0)
    files = [(place / f"{number}.wav").absolute() for number in range(RECORDINGS)]
    for file in files:
        wave = 0.05 * rng.standard_normal(round(RECORDING_S * SR), dtype=np.float32)
        soundfile.write(file, wave, SR, subtype="PCM_16")
    settings = EmbedSettings(hop_s=None, batch_size=BATCH, block_s=60.0, device="auto")
    x_B1MT = torch.randn(round(RECORDINGS * RECORDING_S), 1, 128, 86)
    wave_BS = 0.05 * torch.randn(len(x_B1MT), SR)
    forwards = {
        f"forward, batches of {BATCH}": (encoder.module, x_B1MT.split(BATCH)),
        f"forward, batches of {MINUTE}": (encoder.module, x_B1MT.split(MINUTE)),
        f"front end and forward, batches of {BATCH}": (encoder.forward, wave_BS.split(BATCH)),
    }
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in forwards}
    for turn in range(1 + TURNS):
        store = VectorStore.create(place / f"v1-{turn}.store", encoder.facts(), audio_root=place)
        start = time.perf_counter()
        embed_recordings(encoder, store, files, place.absolute(), settings)
        ours.append(time.perf_counter() - start)
        for name, (function, batches) in forwards.items():
            start = time.perf_counter()
            with torch.inference_mode():
                for batch in batches:
                    function(batch)
            theirs[name].append(time.perf_counter() - start)
    for name, times in theirs.items():
        yield Claim(
            f"embedding, v1, recordings to store / {name}",
            median(ours[1:]), median(times[1:]), "s", 1.2,  # the first turn warms up
            note=f"{RECORDINGS} min of sound; the encoder's forward on what is in memory",
        )  # fmt: skip


def _v1() -> LoadedEncoder:
    model = ProtoNetV1(
        channels=[64, 832], dropout=0.0, distance="euclidean", cosine_scale=10.0, normalize="none"
    )
    front_end = LogMel(
        sr=SR, n_fft=1024, hop_mel=256, n_mels=128, fmin=50, fmax=11025, floor_db=-100
    )
    normalize = Normalize(mode="recording", n_mels=128)
    return LoadedEncoder(
        "v1", model.eval(), model.embedding_dim, SR, 1.0, front_end, normalize, "checkpoint", {}
    )


def _heads() -> Iterator[Claim]:
    rng = np.random.default_rng(0)
    class_N = rng.integers(0, 23, 5000)
    x_ND = 0.15 * rng.standard_normal((23, DIM))[class_N] + rng.standard_normal((5000, DIM))
    x_ND = x_ND.astype(np.float32)
    for network, hidden in (("linear", 128), ("mlp", 128), ("projection", 512)):
        times = []
        for _ in range(TURNS):
            start = time.perf_counter()
            EmbeddingHead(network=network, hidden_dim=hidden).fit(x_ND, class_N)
            times.append(time.perf_counter() - start)
        yield Claim(
            f"head, {network}, trained again", median(times), 2.0, "s", 1.0,
            note=f"5,000 x {DIM}, 23 classes",
        )  # fmt: skip
