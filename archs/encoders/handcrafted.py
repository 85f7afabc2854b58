"""Plain acoustics as an encoder: what a bioacoustician measures by hand, without any learning.

Sources: the fundamental by normalised autocorrelation (as in de Cheveigne and Kawahara, "YIN", JASA
2002, without its refinements); centroid and bandwidth as the first two moments of the power
spectrum; MFCC as the DCT of log-mel bands (Davis and Mermelstein, TASSP 1980).

Shapes: B clips, S samples, T frames, N samples of a window, F frequency bins, M mel bands, K MFCCs.
"""

import math

import torch
from torch import Tensor

from archs.protonet import Encoder
from preprocessing.spectra.mel import mel_basis

N_FFT, HOP, N_MELS, FMIN = 1024, 256, 40, 50.0
# Frames this far below the loudest are background.
ACTIVE_DB = 20.0
# A frame whose autocorrelation peaks below this has no pitch.
VOICED = 0.3


class Handcrafted(Encoder):
    """Waveforms ``(B, S)`` to named acoustic measures ``(B, D)``; nothing is trained.

    The measures, in the order of `names`: fundamental (kHz; 0 without pitch), duration of the
    active part (s), bandwidth and centroid (kHz), then means and deviations of the MFCCs over the
    active frames.

    Args:
        sr: sample rate, Hz.
        n_mfcc: coefficients.
    """

    basis_FM: Tensor
    dct_MK: Tensor
    window_N: Tensor

    def __init__(self, *, sr: int, n_mfcc: int) -> None:
        super().__init__()
        self.sr = sr
        basis = mel_basis(sr, N_FFT, N_MELS, FMIN, sr / 2)
        self.register_buffer("basis_FM", torch.from_numpy(basis.T).float(), persistent=False)
        k, m = torch.arange(n_mfcc)[None], torch.arange(N_MELS)[:, None]
        dct_MK = torch.cos(math.pi / N_MELS * (m + 0.5) * k) * math.sqrt(2 / N_MELS)
        self.register_buffer("dct_MK", dct_MK, persistent=False)
        self.register_buffer("window_N", torch.hann_window(N_FFT), persistent=False)
        self.names = ["f0_khz", "duration_s", "bandwidth_khz", "centroid_khz"]
        self.names += [f"mfcc_{i}_mean" for i in range(n_mfcc)]
        self.names += [f"mfcc_{i}_std" for i in range(n_mfcc)]
        self.embedding_dim = len(self.names)

    def forward(self, wave_BS: Tensor) -> Tensor:
        """Measure waveforms: ``(B, S) -> (B, D)``."""
        pad = max(N_FFT - wave_BS.shape[1], 0)
        frames_BTN = torch.nn.functional.pad(wave_BS, (0, pad)).unfold(1, N_FFT, HOP)
        power_BTF = torch.fft.rfft(frames_BTN * self.window_N).abs().square()
        energy_BT = power_BTF.sum(dim=2) + 1e-10
        level_BT = 10 * torch.log10(energy_BT)
        active_BT = (level_BT >= level_BT.amax(dim=1, keepdim=True) - ACTIVE_DB).float()
        count_B = active_BT.sum(dim=1)
        share_BT = active_BT / count_B[:, None]
        centroid_B, bandwidth_B = self._moments(power_BTF, active_BT)
        mfcc_BTK = torch.log(power_BTF @ self.basis_FM + 1e-10) @ self.dct_MK
        mean_BK = (mfcc_BTK * share_BT[..., None]).sum(dim=1)
        var_BK = ((mfcc_BTK - mean_BK[:, None]).square() * share_BT[..., None]).sum(dim=1)
        scalars = [
            self._f0(frames_BTN, active_BT),
            count_B * HOP / self.sr,
            bandwidth_B,
            centroid_B,
        ]
        return torch.cat([torch.stack(scalars, dim=1), mean_BK, var_BK.sqrt()], dim=1)

    def _moments(self, power_BTF: Tensor, active_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Centroid and bandwidth of the active frames' spectrum, kHz."""
        spectrum_BF = (power_BTF * active_BT[..., None]).sum(dim=1) + 1e-12
        spectrum_BF = spectrum_BF / spectrum_BF.sum(dim=1, keepdim=True)
        khz_F = torch.linspace(0, self.sr / 2000, spectrum_BF.shape[1], device=power_BTF.device)
        centroid_B = spectrum_BF @ khz_F
        variance_B = (spectrum_BF * (khz_F - centroid_B[:, None]).square()).sum(dim=1)
        return centroid_B, variance_B.sqrt()

    def _f0(self, frames_BTN: Tensor, active_BT: Tensor) -> Tensor:
        """Fundamental, kHz: the mean over active frames with a pitch; 0 where there is none."""
        centred = frames_BTN - frames_BTN.mean(dim=2, keepdim=True)
        spectrum = torch.fft.rfft(centred, n=2 * N_FFT).abs().square()
        correlation = torch.fft.irfft(spectrum)[..., : N_FFT // 2]
        # A lag's sum has fewer terms the longer it is.
        terms = torch.arange(N_FFT, N_FFT // 2, -1, device=correlation.device) / N_FFT
        correlation = correlation / terms / (correlation[..., :1] + 1e-10)
        # The peak at lag 0 is passed where the correlation first falls below zero.
        passed = (correlation < 0).cummax(dim=2).values
        correlation = torch.where(passed, correlation, -1.0)
        peak_BT = correlation.amax(dim=2)
        before, here, after = correlation[..., :-2], correlation[..., 1:-1], correlation[..., 2:]
        # The first of nearly equal peaks is the period; later ones are its multiples.
        peaks = (here >= before) & (here >= after) & (here >= 0.9 * peak_BT[..., None])
        at = peaks.int().argmax(dim=2, keepdim=True)
        low, top, high = (x.gather(2, at)[..., 0] for x in (before, here, after))
        # A parabola through three points finds the top between two lags.
        curve = (low - 2 * top + high).clamp(max=-1e-6)
        lag_BT = 1 + at[..., 0] + 0.5 * ((low - high) / curve).clamp(-1, 1)
        voiced_BT = (peak_BT > VOICED).float() * active_BT
        khz_BT = self.sr / 1000 / lag_BT
        return (khz_BT * voiced_BT).sum(dim=1) / voiced_BT.sum(dim=1).clamp(min=1)
