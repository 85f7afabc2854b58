"""A shot pasted into what lies between the shots, at known signal-to-noise ratios.

Shapes: T samples, P pasted calls.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import welch

from g5.common.errors import UserError
from g5.detection.support import Shot, Target

SNR_DB = (0.0, 5.0, 10.0, 15.0, 20.0)
REPEATS = 3
# Pause between pasted calls at least; sound of the gaps at least; where pieces are faded, seconds.
PAUSE_S, LEAST_S, FADE_S = 0.5, 1.0, 0.01
# The band of a shot that has no box holds all but so much of its energy on either side.
TAIL = 0.05
# A shot is a call by at least this share of its power, the rest is background.
CALL_SHARE = 0.05


@dataclass(frozen=True)
class Pasted:
    """A recording with one shot pasted many times.

    Attributes:
        samples_T: of it.
        rate_hz: of them.
        times_P2: begin and end of every pasted call, seconds.
        snr_P: their ratios to what lies under them, dB in the shot's band.
        own_db: the shot's ratio where it was marked.
    """

    samples_T: np.ndarray
    rate_hz: int
    times_P2: np.ndarray
    snr_P: np.ndarray
    own_db: float


def gaps_sound(target: Target, rate_hz: int) -> np.ndarray:
    """What lies between the shots, one piece faded into the next, (T,).

    Raises:
        UserError: it is too short.
    """
    fade, joined_T = round(FADE_S * rate_hz), np.zeros(0, np.float32)
    for sound, start_s, end_s in target.gaps():
        piece_T = sound.read(start_s, end_s, rate_hz)
        if len(piece_T) > 4 * fade:
            joined_T = _faded(joined_T, piece_T, fade)
    if len(joined_T) < LEAST_S * rate_hz:
        raise UserError(
            f"{target.label}: {len(joined_T) / rate_hz:.1f} s lie between its shots, too little to "
            "paste them into; mark calls farther apart, or set detection.negatives=everything"
        )
    return joined_T


def paste(shot: Shot, gaps_T: np.ndarray, rate_hz: int, seed: int) -> Pasted:
    """Paste a shot `REPEATS` times at each of `SNR_DB`, in random order, into sound of gaps."""
    call_T = shot.sound.read(shot.start_s, shot.end_s, rate_hz).astype(np.float32)
    band_hz = _band(shot, call_T, gaps_T, rate_hz)
    power, around = (_power(x_T, band_hz, rate_hz) for x_T in (call_T, gaps_T))
    own = max(power - around, CALL_SHARE * power, 1e-20)
    snr_P = np.random.default_rng(seed).permutation(np.repeat(SNR_DB, REPEATS))
    pause = round(max(PAUSE_S, shot.duration_s) * rate_hz)
    starts_P = pause + np.arange(len(snr_P)) * (len(call_T) + pause)
    fade = round(FADE_S * rate_hz)
    samples_T = gaps_T
    while len(samples_T) < starts_P[-1] + len(call_T) + pause:
        samples_T = _faded(samples_T, gaps_T, fade)
    samples_T = samples_T[: starts_P[-1] + len(call_T) + pause].copy()
    ramp = min(fade, len(call_T) // 2)
    call_T[:ramp] *= np.linspace(0, 1, ramp, dtype=np.float32)
    call_T[len(call_T) - ramp :] *= np.linspace(1, 0, ramp, dtype=np.float32)
    for start, snr in zip(starts_P.tolist(), snr_P.tolist(), strict=True):
        under_T = samples_T[start : start + len(call_T)]
        gain = np.sqrt(10 ** (snr / 10) * max(_power(under_T, band_hz, rate_hz), 1e-20) / own)
        under_T += np.float32(gain) * call_T
    times_P2 = np.column_stack([starts_P, starts_P + len(call_T)]) / rate_hz
    own_db = float(10 * np.log10(own / max(around, 1e-20)))
    return Pasted(samples_T, rate_hz, times_P2, snr_P, own_db)


def _band(shot: Shot, call_T: np.ndarray, gaps_T: np.ndarray, rate_hz: int) -> tuple[float, float]:
    """The shot's band: its box, or where its energy above that of the gaps lies."""
    if np.isfinite([shot.low_hz, shot.high_hz]).all():
        return shot.low_hz, shot.high_hz
    size = min(512, len(call_T))
    hz_F, call_F = welch(call_T, rate_hz, nperseg=size)
    _, gaps_F = welch(gaps_T, rate_hz, nperseg=size)
    total_F = np.cumsum(np.maximum(call_F - gaps_F, 0))
    if total_F[-1] <= 0:
        return 0.0, rate_hz / 2
    low, high = np.searchsorted(total_F / total_F[-1], (TAIL, 1 - TAIL))
    step = hz_F[1] if len(hz_F) > 1 else rate_hz / 2
    return float(hz_F[low] - step), float(hz_F[high] + step)


def _power(x_T: np.ndarray, band_hz: tuple[float, float], rate_hz: int) -> float:
    """Mean power within a band."""
    hz_F = np.fft.rfftfreq(len(x_T), 1 / rate_hz)
    inside_F = (hz_F >= band_hz[0]) & (hz_F <= band_hz[1])
    return 2 * float(np.square(np.abs(np.fft.rfft(x_T)[inside_F])).sum()) / len(x_T) ** 2


def _faded(first_T: np.ndarray, second_T: np.ndarray, fade: int) -> np.ndarray:
    """One after the other, the end of the first faded into the second."""
    if not len(first_T):
        return second_T.astype(np.float32)
    rise_T = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32))
    both_T = first_T[-fade:] * rise_T[::-1] + second_T[:fade] * rise_T
    return np.concatenate([first_T[:-fade], both_T, second_T[fade:]]).astype(np.float32)
