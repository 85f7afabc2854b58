"""Rendering: one call of an invented species, from its numbers to samples.

Shapes: m samples, padded to whole control steps; C control points; K partials; F frequencies.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import ceil, pi

import numpy as np
from numpy.fft import irfft, rfft, rfftfreq
from scipy.fft import next_fast_len

from preprocessing.synthetic.species import CONTOUR_POINTS, CONTOUR_TIME, Species, Syllable

# Samples between the points at which slow things (formants, partials' levels) are computed.
CONTROL_STEP = 64
# No partial is rendered above this share of the sample rate.
HIGHEST = 0.47
LOWEST_HZ = 20.0
# Shorter rises and falls would click.
SHORTEST_RAMP_S = 0.002
LONGEST_RING_S = 1.5
# Breath below this is not worth its time.
INAUDIBLE_DB = -50.0
_RAMP = (np.arange(CONTROL_STEP, dtype=np.float32) / CONTROL_STEP)[None, :]


def render(species: Species, rng: np.random.Generator, *, sr: int) -> np.ndarray:
    """One call: (samples,) float32 with a peak of 1.

    Args:
        species: how it calls (`preprocessing.synthetic.species.draw`, then `vary`).
        rng: of what differs even between equal calls: phases, noise, pulse times.
        sr: sample rate, Hz.
    """
    pieces = []
    last = max(1, len(species.pattern) - 1)
    for i, which in enumerate(species.pattern):
        # From -0.5 at the first syllable to 0.5 at the last; a single syllable stays put.
        along = i / last - 0.5 if len(species.pattern) > 1 else 0.0
        syllable = species.syllables[which]
        duration_s = syllable.duration_s * 2 ** (-species.tempo_oct * along)
        syllable = replace(
            syllable,
            duration_s=duration_s,
            f0_hz=syllable.f0_hz * 2 ** (species.drift_oct * along),
        )
        x = _SOURCES[syllable.source](syllable, rng, sr)
        if syllable.drive_db:
            x = np.tanh(x * np.float32(10 ** (syllable.drive_db / 20) / max(1e-9, np.abs(x).max())))
        level_db = syllable.level_db + species.swell_db * along
        pieces.append(x * np.float32(10 ** (level_db / 20) / max(1e-9, np.abs(x).max())))
        if i < last:
            pieces.append(np.zeros(round(species.gap * duration_s * sr), np.float32))
    x = np.concatenate(pieces)
    return x / np.abs(x).max()


def _modulation(syllable: Syllable, t: np.ndarray) -> np.ndarray:
    """Phase in cycles of the syllable's rate at times ``t`` (0 to 1 over the syllable)."""
    cycles = syllable.rate_hz * syllable.duration_s
    if abs(syllable.rate_oct) < 1e-3:
        return cycles * t
    # Integral of rate * 2 ** (rate_oct * (t - 0.5)).
    k = syllable.rate_oct * np.log(2)
    return cycles * (np.exp(k * (t - 0.5)) - np.exp(-k / 2)) / k


def _envelope(syllable: Syllable, t: np.ndarray, cycles: np.ndarray | None) -> np.ndarray:
    """Amplitude at times ``t`` (0 to 1 over the syllable), float32."""
    t = t.astype(np.float32)
    shortest = 0.0 if syllable.source == "pulses" else SHORTEST_RAMP_S / syllable.duration_s
    rise = np.minimum(t / np.float32(max(1e-6, shortest, syllable.attack)), 1.0)
    fall = np.minimum((1.0 - t) / np.float32(max(1e-6, shortest, syllable.release)), 1.0)
    # Smooth steps: no kink at either end.
    envelope = rise * rise * (3.0 - 2.0 * rise) * (fall * fall * (3.0 - 2.0 * fall))
    if syllable.decay:
        envelope *= np.exp(np.float32(-syllable.decay) * t)
    if cycles is not None and syllable.depth:
        turns = ((cycles % 1.0) * (2 * pi)).astype(np.float32)
        wave = (0.5 - 0.5 * np.cos(turns)) ** np.float32(syllable.sharpness)
        envelope *= np.float32(1.0 - syllable.depth) + np.float32(syllable.depth) * wave
    return envelope


def _resonance(
    frequency_hz: np.ndarray, formants: np.ndarray, moved: Iterable, order: float
) -> np.ndarray:
    """Gain of parallel resonances, each falling with the power ``order`` off its band.

    ``moved`` holds, per formant, the factor on its centre: a number, or one that broadcasts
    against ``frequency_hz``.
    """
    if not len(formants):
        return np.ones_like(frequency_hz)
    gain = np.full_like(frequency_hz, 0.004)
    for (centre_hz, width_hz, level), factor in zip(formants, moved, strict=True):
        away = (frequency_hz - centre_hz * factor) / (0.5 * width_hz)
        fall = 1.0 + away * away
        gain += level / (fall if order == 2.0 else fall ** (0.5 * order))
    return gain


def _partials(syllable: Syllable, rng: np.random.Generator, sr: int) -> np.ndarray:
    n = max(2, round(syllable.duration_s * sr))
    controls = ceil(n / CONTROL_STEP)
    t = np.arange(controls * CONTROL_STEP) / n
    cycles = _modulation(syllable, t) if syllable.rate_hz else None
    f_m = _pitch(syllable, t, cycles, rng, sr)
    turns = np.cumsum(f_m)
    turns /= sr
    x = _sum_of_partials((turns + rng.uniform()) % 1.0, _partial_gains(syllable, f_m, n, sr))
    x = x[:n] * _envelope(syllable, t[:n], None if cycles is None else cycles[:n])
    if syllable.subharmonic:
        x *= 1.0 + np.float32(syllable.subharmonic) * np.cos(pi * turns[:n]).astype(np.float32)
    if syllable.breath_db > INAUDIBLE_DB:
        formants = syllable.formants
        if not len(formants):
            formants = np.array([[syllable.f0_hz, syllable.f0_hz, 1.0]])
            syllable = replace(syllable, formant_end=np.ones(1))
        breath = _filtered_noise(replace(syllable, formants=formants), rng, sr)
        x += breath * np.float32(
            10 ** (syllable.breath_db / 20) * _rms(x) / max(1e-9, _rms(breath))
        )
    return x


def _sum_of_partials(turns: np.ndarray, gain_CK: np.ndarray) -> np.ndarray:
    """Sines of multiples of a phase, (m,) cycles, under gains at the control points: (m,)."""
    phase = (2 * pi * turns).astype(np.float32)
    # sin((k + 1) p) = 2 cos(p) sin(k p) - sin((k - 1) p): two passes instead of a sine each.
    twice_cos, wave, before = 2 * np.cos(phase), np.sin(phase), np.zeros_like(phase)
    x, part = np.zeros_like(phase), np.empty((len(gain_CK) - 1, CONTROL_STEP), np.float32)
    step_CK = np.diff(gain_CK, axis=0)
    for k in range(gain_CK.shape[1]):
        if k:
            before *= -1.0
            before += twice_cos * wave
            wave, before = before, wave
        np.multiply(step_CK[:, k, None], _RAMP, out=part)
        part += gain_CK[:-1, k, None]
        part *= wave.reshape(part.shape)
        x += part.ravel()
    return x


def _pitch(
    syllable: Syllable,
    t: np.ndarray,
    cycles: np.ndarray | None,
    rng: np.random.Generator,
    sr: int,
) -> np.ndarray:
    """Fundamental in Hz at every sample (m,)."""
    octaves = np.interp(t, CONTOUR_TIME, syllable.contour_oct)
    if cycles is not None:
        octaves += np.interp(cycles % 1.0, CONTOUR_TIME, syllable.note_oct)
    if syllable.vibrato_oct:
        turns = syllable.vibrato_hz * syllable.duration_s * t + rng.uniform()
        octaves += syllable.vibrato_oct * np.sin(2 * pi * turns)
    if syllable.rough_oct:
        points = rng.normal(0, syllable.rough_oct, len(t) // CONTROL_STEP + 2)
        octaves += np.interp(np.arange(len(t)) / CONTROL_STEP, np.arange(len(points)), points)
    return np.clip(syllable.f0_hz * np.exp2(octaves), LOWEST_HZ, 0.95 * HIGHEST * sr)


def _partial_gains(syllable: Syllable, f_m: np.ndarray, n: int, sr: int) -> np.ndarray:
    """Gain of each partial at the control points, (C + 1, K) float32."""
    f_C = np.append(f_m[::CONTROL_STEP], f_m[-1])
    count = max(1, min(syllable.partials, int(HIGHEST * sr / f_C.min())))
    k_K = np.arange(1, count + 1)
    f_CK = f_C[:, None] * k_K
    gain_CK = np.broadcast_to(10 ** (syllable.tilt_db * np.log2(k_K) / 20), f_CK.shape)
    gain_CK = gain_CK * np.where(k_K % 2 == 0, 1 - syllable.odd_only, 1.0)
    t_C = np.minimum(np.arange(len(f_C)) * CONTROL_STEP / n, 1.0)[:, None]
    moved = [end**t_C for end in syllable.formant_end]
    gain_CK = gain_CK * _resonance(f_CK, syllable.formants, moved, 1.5)
    return (gain_CK * np.clip((HIGHEST * sr - f_CK) / (0.02 * sr), 0, 1)).astype(np.float32)


def _filtered_noise(syllable: Syllable, rng: np.random.Generator, sr: int) -> np.ndarray:
    n = max(2, round(syllable.duration_s * sr))
    m = fast_length(n)
    t = np.arange(n) / n
    f_F = rfftfreq(m, 1 / sr)
    white_F = rng.standard_normal(2 * len(f_F), dtype=np.float32).view(np.complex64)

    def shaped(moved: Iterable[float]) -> np.ndarray:
        gain_F = _resonance(f_F, syllable.formants, moved, 2.0)
        return irfft(white_F * gain_F.astype(np.float32), m)[:n]

    x = shaped(np.ones(len(syllable.formants)))
    if np.any(syllable.formant_end != 1.0):
        # The same noise through the first and the last filter: crossfading moves the band.
        x += (shaped(syllable.formant_end) - x) * t.astype(np.float32)
    cycles = _modulation(syllable, t) if syllable.rate_hz else None
    return x * _envelope(syllable, t, cycles)


def _pulses(syllable: Syllable, rng: np.random.Generator, sr: int) -> np.ndarray:
    n = max(2, round(syllable.duration_s * sr))
    grid = np.linspace(0.0, 1.0, CONTOUR_POINTS)
    count = max(1, int(_modulation(syllable, np.ones(1))[0]))
    # Times (0 to 1) at which the rate's phase passes whole cycles, then displaced.
    t = np.interp(np.arange(count) + 0.02, _modulation(syllable, grid), grid)
    t += syllable.irregular * (rng.uniform(0, 1, count) - t)
    strength = _envelope(syllable, t, None) + 1e-3
    strength *= np.exp(rng.normal(0, 0.1 + 0.7 * syllable.irregular, count)).astype(np.float32)
    sign = 1.0
    if syllable.irregular == 1.0:
        sign = rng.choice([-1.0, 1.0], count)
    train = np.zeros(n, np.float32)
    np.add.at(train, np.minimum((t * n).astype(int), n - 1), strength * sign)
    ring = _ring(syllable.formants, sr)
    m = fast_length(n + len(ring))
    return irfft(rfft(train, m) * rfft(ring, m), m)[: n + len(ring)]


def _ring(formants: np.ndarray, sr: int) -> np.ndarray:
    """What one pulse sets ringing: damped oscillations, down by 60 dB at the end."""
    longest_s = 6.9 / (pi * formants[:, 1].min())
    t = np.arange(max(8, round(min(LONGEST_RING_S, longest_s) * sr))) / sr
    x = np.zeros(len(t))
    for centre_hz, width_hz, level in formants:
        if centre_hz < HIGHEST * sr:
            x += level * np.exp(-pi * width_hz * t) * np.sin(2 * pi * centre_hz * t)
    if not x.any():
        x[:2] = 1.0, -1.0
    return x.astype(np.float32)


def fast_length(n: int) -> int:
    """The least length from ``n`` on whose real FFT is quick."""
    return int(next_fast_len(n, True) or n)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x * x)))


_SOURCES = {"partials": _partials, "noise": _filtered_noise, "pulses": _pulses}
