"""Detection, decode to events, beside the encoder alone, beside the least there is to do."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from threadpoolctl import threadpool_limits
from torch.utils.flop_counter import FlopCounterMode

from archs.protonet import ProtoNet
from benchmarks import Claim, alternate
from benchmarks.inputs import SR, untrained
from g5.common.machine import cores
from g5.config.parts import front_end_of, normalize_of
from g5.config.settings import load
from g5.detection.corpus import detector_of
from g5.detection.detector import Detector
from g5.detection.embedding.checkpoint_embedder import CheckpointEmbedder
from g5.detection.embedding.sound import Sound, Sounds
from g5.detection.embedding.windows import Scale
from g5.detection.support import Target, targets_of
from g5.tracking.restore import Restored
from preprocessing import audio
from preprocessing.audio import content_hash
from preprocessing.audio_rules import READ_ALL

RECORDING_S = 300.0
# A call of 1.1 s every 10 s; the first five are the support.
CALL_S, APART_S, SHOTS = 1.1, 10.0, 5
TURNS = 3
# What was published: the 2022 baseline of DCASE Task 5, and its template matching.
BASELINE_X, TEMPLATE_X = 9.0, 19.0
CPU = torch.device("cpu")


def rows() -> Iterator[Claim]:
    """Wall time on all cores, both sides in turns."""
    with tempfile.TemporaryDirectory() as place, threadpool_limits(cores("auto")):
        torch.set_num_threads(cores("auto"))
        path = _recording(Path(place) / "night.wav")
        rate = _matmul_rate()
        for arch in ("v1", "v2"):
            yield from _of_encoder(arch, path, Path(place), rate)
        seconds = alternate(
            {"template": _decode_to_events("v1", path, Path(place), "template")}, TURNS
        )
        yield Claim(
            "detection=template, decode to events", RECORDING_S / seconds["template"], TEMPLATE_X,
            "x real time", 1.0, at_least=True, note="published template matching",
        )  # fmt: skip


def _of_encoder(arch: str, path: Path, place: Path, rate: float) -> Iterator[Claim]:
    detector, sounds = _maker(arch, "prototypes")(place / "ready")
    sound, target = _opened(path, sounds)
    (scale,) = detector.scorer.scales(sound, target, detector.embedder.stride)  # type: ignore[attr-defined]
    x_NBMT = _windows(sound, scale)
    embedder = detector.embedder
    assert isinstance(embedder, CheckpointEmbedder)
    model = embedder.model

    def forward() -> None:
        with torch.inference_mode():
            for x_B1MT in x_NBMT:
                model(x_B1MT)

    def shared() -> None:
        for _ in embedder._blocks(sound, scale, None):
            pass

    sides: dict[str, Callable[[], object]] = {
        "all": _decode_to_events(arch, path, place, "prototypes"),
        "forward": forward,
        "features": lambda: _decode_and_features(path),
    }
    shares = embedder.shares(scale)
    if shares:
        sides["shared"] = shared
    seconds = alternate(sides, TURNS)
    frames = f"windows of {scale.width} frames every {scale.hop}"
    yield Claim(
        f"detection, {arch}, decode to events / forward of windows cut one by one",
        seconds["all"], seconds["forward"], "s", 1.3, note=f"{RECORDING_S / 60:.0f} min; {frames}",
    )  # fmt: skip
    yield Claim(
        f"detection, {arch}, decode to events", RECORDING_S / seconds["all"], BASELINE_X,
        "x real time", 1.0, at_least=True, note="published 2022 baseline",
    )  # fmt: skip
    if shares:
        yield Claim(
            f"detection, {arch}, gain by shared frames / ideal",
            seconds["forward"] / seconds["shared"], scale.ideal_gain, "x", 0.6, at_least=True,
            note=frames,
        )  # fmt: skip
    products = _multiply_adds(model, x_NBMT, sound, shares) / rate
    yield Claim(
        f"detection, {arch}, decode to events / floor", seconds["all"],
        seconds["features"] + products, "s", float("inf"),
        note=f"decode and features {seconds['features']:.2f} s, multiply-adds at "
        f"{rate / 1e9:.0f} G/s {products:.2f} s",
    )  # fmt: skip


def _recording(path: Path) -> Path:
    rng = np.random.default_rng(0)
    x_T = 0.02 * rng.standard_normal(round(RECORDING_S * SR), dtype=np.float32)
    t = np.arange(round(CALL_S * SR)) / SR
    call_T = 0.3 * np.sin(2 * np.pi * (1500 * t + 700 * t**2)) * np.hanning(len(t))
    for start_s in np.arange(1, RECORDING_S - CALL_S, APART_S):
        first = round(start_s * SR)
        x_T[first : first + len(call_T)] += call_T
    soundfile.write(path, x_T, SR, subtype="PCM_16")
    return path


def _restored(arch: str) -> Restored:
    """An untrained model of the default configuration."""
    settings = load([f"arch={arch}"])
    parts = untrained(arch), front_end_of(settings), normalize_of(settings)
    return Restored(*parts, settings.plain(), {}, {}, Path("benchmark.ckpt"))


def _maker(arch: str, how: str) -> Callable[[Path], tuple[Detector, Sounds]]:
    """Makes a detector that keeps nothing but in the store given."""
    restored = _restored(arch)
    settings = load([f"detection={how}"])
    detection, block_s = settings.detection, settings.features.block_s
    return lambda store: detector_of(restored, detection, store, device=CPU, block_s=block_s)


def _opened(path: Path, sounds: Sounds) -> tuple[Sound, Target]:
    sound = sounds.open(path, content_hash(path))
    starts = np.arange(1, RECORDING_S - CALL_S, APART_S)[:SHOTS]
    support = pd.DataFrame({"start_s": starts, "end_s": starts + CALL_S, "label": "call"})
    support = support.assign(file=str(path), status="POS")
    (target,) = targets_of(support, lambda _: sound, shots=None, negatives="gaps", problem=print)
    return sound, target


def _decode_to_events(arch: str, path: Path, place: Path, how: str) -> Callable[[], object]:
    """Everything anew each time: another store."""
    make = _maker(arch, how)

    def run() -> object:
        with tempfile.TemporaryDirectory(dir=place) as store:
            detector, sounds = make(Path(store))
            return detector.detect(*_opened(path, sounds))

    return run


def _decode_and_features(path: Path) -> None:
    stream = front_end_of(load([])).stream()
    for samples in audio.blocks(path, READ_ALL, block_s=30.0, rate_hz=SR):
        stream.push(samples)
    stream.finish()


def _windows(sound: Sound, scale: Scale, batch: int = 64) -> tuple[torch.Tensor, ...]:
    """All windows of a recording, normalised, (batch, 1, M, W) each."""
    x_TM = (sound.features_TM.float() - sound.stats[0]) / sound.stats[1]
    return x_TM.unfold(0, scale.width, scale.hop)[:, None].contiguous().split(batch)


def _multiply_adds(
    model: ProtoNet, x_NBMT: tuple[torch.Tensor, ...], sound: Sound, shares: bool
) -> float:
    """Of all windows; where they share, of the recording's frames once."""
    sample = x_NBMT[0][:1]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(sample)
    count = sound.n_frames / sample.shape[-1] if shares else sum(map(len, x_NBMT))
    return counter.get_total_flops() / 2 * count


def _matmul_rate(size: int = 1024) -> float:
    """Multiply-adds per second of a float32 product, the best of many."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(50):
        start = time.perf_counter()
        _ = a @ b
        best = min(best, time.perf_counter() - start)
    return size**3 / best
