"""Feature extraction, decode to store, beside librosa and beside the least that has to be done."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import soundfile
import torch
from threadpoolctl import threadpool_limits

from benchmarks import Claim, alternate
from benchmarks.inputs import SR, noise_files
from preprocessing import features
from preprocessing.frontend import PCEN, FrontEnd, LogMel

RECORDING_S = 60.0
RECORDINGS = 24
TURNS = 5
LOG_MEL = LogMel(sr=SR, n_fft=1024, hop_mel=256, n_mels=128, fmin=50, fmax=11025, floor_db=-100)
ENERGY_NORMALISED = PCEN(
    sr=SR, n_fft=1024, hop_mel=256, n_mels=128, fmin=50, fmax=11025, pcen_scale=2.0**31,
    pcen_gain=0.98, pcen_bias=2.0, pcen_power=0.5, pcen_time_constant_s=0.4, pcen_eps=1e-6,
)  # fmt: skip
BASIS = librosa.filters.mel(sr=SR, n_fft=1024, n_mels=128, fmin=50, fmax=11025)
TOTAL_S = RECORDINGS * RECORDING_S


def rows() -> Iterator[Claim]:
    """Per core (processor time of all threads), then two workers against one (wall time)."""
    with tempfile.TemporaryDirectory() as place, threadpool_limits(1):
        recordings = _recordings(Path(place))
        stores = Path(place) / "stores"
        stores.mkdir()

        def ours(front_end: FrontEnd, workers: int) -> Callable[[], object]:
            def run() -> object:
                target = tempfile.mkdtemp(dir=stores)
                return features.build(recordings, front_end, target, workers=workers, block_s=30.0)

            return run

        sides = {
            "log-mel": ours(LOG_MEL, 1),
            "librosa log-mel": lambda: _librosa(recordings, Path(place), _decibels),
            "least": lambda: _least(recordings),
            "PCEN": ours(ENERGY_NORMALISED, 1),
            "librosa PCEN": lambda: _librosa(recordings, Path(place), _pcen),
        }
        cpu = alternate(sides, TURNS, time.process_time)
        for name in ("log-mel", "PCEN"):
            yield Claim(
                f"features, {name}, decode to store, per core", TOTAL_S / cpu[name],
                TOTAL_S / cpu[f"librosa {name}"], "x real time", 1.0, at_least=True,
                note="librosa: read, melspectrogram, compress, fp16, np.save",
            )  # fmt: skip
        yield Claim(
            "features, log-mel, all against decode + STFT + mel product",
            60e3 / TOTAL_S * cpu["log-mel"], 60e3 / TOTAL_S * cpu["least"],
            "CPU ms/min of sound", 1.3,
            note="soundfile, librosa.stft (faster than torch.stft), dense product",
        )  # fmt: skip
        threads = torch.get_num_threads()
        wall = alternate(
            {"two": ours(LOG_MEL, 2), "one": ours(LOG_MEL, 1), "librosa": sides["librosa log-mel"]},
            TURNS,
        )
        assert torch.get_num_threads() == threads
        yield Claim(
            "features, log-mel, two workers against librosa on one core", TOTAL_S / wall["two"],
            TOTAL_S / wall["librosa"], "x real time", 1.8, at_least=True,
            note="wall time, needs two idle cores",
        )  # fmt: skip
        yield Claim(
            "features, log-mel, two workers against one", TOTAL_S / wall["two"],
            TOTAL_S / wall["one"],
            "x real time", 1.8, at_least=True, note="wall time, needs two idle cores",
        )  # fmt: skip


def _recordings(place: Path) -> pd.DataFrame:
    paths = noise_files(place, RECORDINGS, RECORDING_S)
    return pd.DataFrame({
        "file": [str(path) for path in paths], "duration_s": RECORDING_S,
        "sha256": [path.name for path in paths],
    })  # fmt: skip


def _librosa(
    recordings: pd.DataFrame, place: Path, compress: Callable[[np.ndarray], np.ndarray]
) -> None:
    """What one would write with librosa, a file of fp16 for every recording."""
    for file in recordings["file"]:
        x, _ = soundfile.read(file, dtype="float32")
        power = librosa.feature.melspectrogram(
            y=x, sr=SR, n_fft=1024, hop_length=256, n_mels=128, fmin=50, fmax=11025,
            pad_mode="constant",
        )  # fmt: skip
        np.save(place / "librosa.npy", np.ascontiguousarray(compress(power).T, dtype=np.float16))


def _decibels(power: np.ndarray) -> np.ndarray:
    return librosa.power_to_db(power, top_db=None)


def _pcen(power: np.ndarray) -> np.ndarray:
    return librosa.pcen(power * 2.0**31, sr=SR, hop_length=256)


def _least(recordings: pd.DataFrame) -> None:
    """Decode, STFT and mel product alone: nothing in dB, normalised, checked or stored."""
    for file in recordings["file"]:
        x, _ = soundfile.read(file, dtype="float32")
        spectrum = librosa.stft(x, n_fft=1024, hop_length=256, pad_mode="constant")
        _ = BASIS @ np.abs(spectrum) ** 2
