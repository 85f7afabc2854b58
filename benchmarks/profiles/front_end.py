"""What float64 costs in the front end, and float32 misses: `-m benchmarks.profiles.front_end`.

Mel power of noise, and of a tone of full scale over noise 120 dB below it, whose quiet bands
float32 drowns. "Split" takes each frame's three loudest bins away, transforms the rest again, and
adds both: two float32 FFTs and an inverse one. "Where needed" takes float32 for frames whose
quietest band lies less than 100 dB below the loudest bin, float64 for the others.
"""

import time
from collections.abc import Callable
from datetime import date
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks import alternate
from benchmarks.inputs import N_MELS, SR
from preprocessing.spectra.mel import mel_basis

N_FFT, HOP, SECONDS, TURNS = 1024, 256, 30, 5
BASIS = torch.from_numpy(mel_basis(SR, N_FFT, N_MELS, 50, SR / 2)).T.float()
WINDOW = torch.hann_window(N_FFT, periodic=True, dtype=torch.float64)
LOUDEST, RANGE = 3, 1e-10


def main() -> None:
    """Print a row for each way: CPU time and the largest error of a band."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.standard_normal(SECONDS * SR)).float()
    time_S = torch.arange(SECONDS * SR, dtype=torch.float64) / SR
    tone = (torch.sin(2 * torch.pi * 1234.5 * time_S) + 1e-6 * noise.double()).float()
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "float64": in_float64, "float32": in_float32, "split": split, "where needed": where_needed,
    }  # fmt: skip
    print(f"{date.today()}, one thread\n| way | sound | CPU, of float64's | worst band, dB |")
    print("| --- | --- | ---: | ---: |")
    for sound, x_S in (("noise", 0.1 * noise), ("tone over faint noise", tone)):
        frames_TN = x_S.unfold(0, N_FFT, HOP)
        expected = in_float64(frames_TN)
        sides = {name: partial(way, frames_TN) for name, way in ways.items()}
        cpu_s = alternate(sides, TURNS, time.process_time)
        for name, way in ways.items():
            off_db = (10 * torch.log10(way(frames_TN) / expected)).abs().max()
            print(f"| {name} | {sound} | {cpu_s[name] / cpu_s['float64']:.2f} | {off_db:.2f} |")


def in_float64(frames_TN: Tensor) -> Tensor:
    """As the front end does."""
    return _bands(torch.fft.rfft(frames_TN.double() * WINDOW))


def in_float32(frames_TN: Tensor) -> Tensor:
    """Window and FFT in single precision."""
    return _bands(torch.fft.rfft(frames_TN * WINDOW.float()))


def split(frames_TN: Tensor) -> Tensor:
    """What is loudest apart from the rest."""
    windowed_TN = frames_TN * WINDOW.float()
    whole_TF = torch.fft.rfft(windowed_TN)
    loud_TK = whole_TF.abs().topk(LOUDEST, dim=-1).indices
    loud_TF = torch.zeros_like(whole_TF).scatter(-1, loud_TK, whole_TF.gather(-1, loud_TK))
    rest_TN = windowed_TN - torch.fft.irfft(loud_TF, n=N_FFT)
    return _bands(torch.fft.rfft(rest_TN) + loud_TF)


def where_needed(frames_TN: Tensor) -> Tensor:
    """float64 for frames of which float32 may drown a band."""
    whole_TF = torch.fft.rfft(frames_TN * WINDOW.float())
    power_TM = _bands(whole_TF)
    loudest_T = torch.view_as_real(whole_TF).square().amax((-2, -1)) * BASIS.amax()
    needed_T = power_TM.amin(-1) < RANGE * loudest_T
    if needed_T.any():
        power_TM[needed_T] = in_float64(frames_TN[needed_T])
    return power_TM


def _bands(spectrum_TF: Tensor) -> Tensor:
    parts_TF2 = torch.view_as_real(spectrum_TF).float().square()
    return parts_TF2.sum(-1) @ BASIS


if __name__ == "__main__":
    main()
