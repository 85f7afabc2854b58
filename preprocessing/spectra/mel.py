"""Mel filters: their shapes, which bins they see, and settings that make none.

Shapes: F frequency bins, M mel bands.
"""

import math

import numpy as np

from g5.common.errors import UserError

# Neighbouring bands share a product with the bins that they see; most of a dense one is zeros.
BANDS_AT_ONCE = 32


def mel_basis(sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> np.ndarray:
    """Triangular mel filters (M, F) float64, each of unit area per Hz (librosa, ``norm="slaney"``).

    Slaney 1998, Auditory Toolbox: the scale is linear below 1 kHz and logarithmic above.
    """
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(fmin), _hz_to_mel(fmax), n_mels + 2))
    bins_hz = np.fft.rfftfreq(n_fft, 1 / sr)
    slopes = edges_hz[:, None] - bins_hz[None, :]
    widths = np.diff(edges_hz)[:, None]
    rising, falling = -slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]
    basis_MF = np.maximum(0, np.minimum(rising, falling))
    return basis_MF * (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]


def band_centres_hz(n_mels: int, fmin: float, fmax: float) -> np.ndarray:
    """Where the bands are most sensitive, Hz (M,)."""
    return _mel_to_hz(np.linspace(_hz_to_mel(fmin), _hz_to_mel(fmax), n_mels + 2))[1:-1]


def _hz_to_mel(hz: float) -> float:
    if hz < 1000:
        return hz * 3 / 200
    return 15 + math.log(hz / 1000) * 27 / math.log(6.4)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    above = 1000 * np.exp((np.maximum(mel, 15) - 15) * math.log(6.4) / 27)
    return np.where(mel < 15, mel * 200 / 3, above)


def seen_groups(basis_MF: np.ndarray) -> list[tuple[slice, slice]]:
    """The parts of the spectrum that groups of bands see, and the groups."""
    parts = []
    for first in range(0, len(basis_MF), BANDS_AT_ONCE):
        bands = slice(first, min(first + BANDS_AT_ONCE, len(basis_MF)))
        seen = np.flatnonzero(basis_MF[bands].any(axis=0))
        parts.append((slice(2 * int(seen[0]), 2 * int(seen[-1]) + 2), bands))
    return parts


def check_mel(sr: int, n_fft: int, hop_mel: int, n_mels: int, fmin: float, fmax: float) -> None:
    """Raise a `UserError` that names the key whose value is impossible."""
    for key, value in (("sr", sr), ("n_fft", n_fft), ("hop_mel", hop_mel), ("n_mels", n_mels)):
        if value != int(value) or value < 1:
            raise UserError(f"features.{key}={value} must be a whole number of at least 1")
    if n_fft < 2:
        raise UserError(f"features.n_fft={n_fft} is no window; take e.g. 1024")
    if hop_mel > n_fft:
        raise UserError(
            f"features.hop_mel={hop_mel} is longer than the window features.n_fft={n_fft}: "
            "sound between frames would be lost; lower hop_mel"
        )
    if not 0 <= fmin < fmax:
        raise UserError(
            f"features.fmin={fmin:g} must be at least 0 and below features.fmax={fmax:g}"
        )
    if fmax > sr / 2:
        raise UserError(
            f"features.fmax={fmax:g} lies above half the sample rate features.sr={sr} "
            f"({sr / 2:g} Hz); lower fmax or raise sr"
        )


def check_no_empty_band(
    basis_MF: np.ndarray, sr: int, n_fft: int, fmin: float, fmax: float
) -> None:
    """Raise where a band is so narrow that it lies between two bins and would always be silent."""
    n_mels = len(basis_MF)
    empty = int((~basis_MF.any(axis=1)).sum())
    if empty:
        fits = n_mels - 1
        while fits > 1 and not mel_basis(sr, n_fft, fits, fmin, fmax).any(axis=1).all():
            fits -= 1
        raise UserError(
            f"features.n_mels={n_mels} is too many for features.n_fft={n_fft}: {empty} bands "
            f"are narrower than a bin and always silent; take n_mels={fits} or a larger n_fft"
        )
