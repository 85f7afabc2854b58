"""Mixing: calls at known times, distances and signal-to-noise ratios over a background.

Nothing here knows where a call comes from: `mix` takes invented calls and real ones alike.
Levels are dB of full scale (RMS of 1.0 is 0 dB).
Shapes: n samples; F frequencies of a real FFT; H points of a frequency response.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, pi

import numpy as np
import pandas as pd
from numpy.fft import irfft, rfft
from scipy.signal import lfilter

from preprocessing.synthetic.rendering import fast_length

# A call lasts from its first to its last moment within this of its peak.
AUDIBLE_DB = 30.0
ENVELOPE_S = 0.005
# A call's own band holds its energy but these shares at either end, and is at least this wide:
# a critical band of hearing is about a third of an octave.
BAND_EDGES = (0.05, 0.95)
NARROWEST_OCT = 1 / 3
# A background quieter than this (16-bit sound's own noise) counts as this.
QUIETEST_DB = -100.0
# The background's level is taken over the call and, around a short one, over this long.
SHORTEST_LOOK_S = 0.25
# Responses are computed at so many points and interpolated: 5 Hz apart at 22,050 Hz.
FINEST_BINS = 2048
# Filters that are zero-phase ring before the call, too.
MARGIN_S = 0.02
# Air absorption, dB per metre at 1 kHz and its growth with frequency: a fit to ISO 9613-2
# (1996), table 2, 10 degrees C and 70 % humidity (3.7, 9.7, 32.8, 117 dB/km at 1, 2, 4, 8 kHz).
AIR_DB_PER_M = 0.0037
AIR_POWER = 1.66


@dataclass(frozen=True)
class Call:
    """One call on its way into a recording."""

    samples: np.ndarray  # (n,) float32, dry, at any level
    start_s: float  # when the first sample sounds
    label: str | None  # None: heard, but not annotated
    snr_db: float  # over what lies under it, in its own band, while it sounds
    distance_m: float  # air absorption over this path; 0: none
    wet_db: float  # energy of its reverberation over that of its direct sound; -inf: none


@dataclass(frozen=True)
class Response:
    """A frequency response, e.g. a microphone's: gain at frequencies, interpolated between."""

    frequency_hz: np.ndarray  # (H,) rising
    gain: np.ndarray  # (H,)

    def at(self, frequency_hz: np.ndarray) -> np.ndarray:
        return np.interp(frequency_hz, self.frequency_hz, self.gain)

    def bins(self, m: int, sr: int) -> np.ndarray:
        """Gain at the bins of a real FFT of ``m`` samples, (m // 2 + 1,) float32."""
        count = m // 2 + 1
        width = ceil(count / FINEST_BINS)
        knots_hz = np.arange(ceil(count / width) + 1) * (width * sr / m)
        return _ramps(self.at(knots_hz), width)[:count]


def _ramps(knots: np.ndarray, width: int) -> np.ndarray:
    """Linear interpolation at ``width`` samples from each knot to the next, float32.

    It is what `np.interp` does, many times faster for knots that are equally spaced.
    """
    start = knots[:-1, None].astype(np.float32)
    step = np.diff(knots)[:, None].astype(np.float32)
    return (start + step * (np.arange(width, dtype=np.float32) / np.float32(width))).ravel()


def flat(sr: int) -> Response:
    """The response that changes nothing."""
    return Response(np.array([0.0, sr / 2]), np.ones(2))


def mix(
    calls: Sequence[Call],
    background: np.ndarray,
    *,
    sr: int,
    channel: Response,
    room: np.ndarray,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Add calls to a background, each at the signal-to-noise ratio it asks for.

    The ratio is the call's mean power over its sounding time (envelope within 30 dB of its
    peak), over the background's mean power from onset to offset (around a short call, over a
    quarter of a second), both in the call's own band (5 % to 95 % of its energy, at least a
    third of an octave). Unlabelled calls are mixed first and count as background for the
    labelled ones.

    Args:
        calls: what sounds; calls that reach past the background's end are cut there.
        background: (n,) float32; returned unchanged where nothing calls.
        sr: sample rate of all of them, Hz.
        channel: applied to the calls; the background is taken as recorded through it.
        room: (r,) float32 reverberation without the direct sound (`reverberation`).

    Returns:
        The mixture, (n,) float32 in the background's scale (it may exceed 1.0), and the labelled
        calls as a frame `start_s, end_s, label` sorted by start: onset and offset of the direct
        sound; reverberation's tail does not count.
    """
    mixture = background.astype(np.float32, copy=True)
    events = []
    for labelled in (False, True):
        under = mixture.copy()
        for call in calls:
            if (call.label is not None) is not labelled:
                continue
            first = round(call.start_s * sr)
            assert 0 <= first < len(mixture), f"a call starts at {call.start_s} s, outside"
            onset, offset = _add(call, first, under, mixture, sr, channel, room)
            if labelled:
                events.append((onset / sr, offset / sr, call.label))
    frame = pd.DataFrame(events, columns=["start_s", "end_s", "label"])
    return mixture, frame.sort_values(["start_s", "end_s"], ignore_index=True)


def _add(
    call: Call,
    first: int,
    under: np.ndarray,
    mixture: np.ndarray,
    sr: int,
    channel: Response,
    room: np.ndarray,
) -> tuple[int, int]:
    """Add one call to ``mixture``, its level taken over ``under``; its onset and offset."""
    margin = round(MARGIN_S * sr)
    direct, wet = _transmit(call, sr, channel, room, margin)
    # Cut to the part inside the recording; index 0 of the pieces lies at `place`.
    place = max(0, first - margin)
    skip = place - (first - margin)
    direct, wet = direct[skip:], wet[skip : skip + len(mixture) - place]
    direct = direct[: len(mixture) - place]
    sounding = audible(direct, sr)
    onset, offset = int(np.argmax(sounding)), len(sounding) - int(np.argmax(sounding[::-1]))
    # Noise under a click would be a matter of chance: look around it, too.
    around = max(0, round(SHORTEST_LOOK_S * sr) - (offset - onset)) // 2
    here = under[max(0, place + onset - around) : place + offset + around]
    energy, under_power = _powers_in_band(wet[onset:offset], here)
    under_power = max(under_power, 10 ** (QUIETEST_DB / 10))
    wanted = 10 ** (call.snr_db / 10) * under_power * np.count_nonzero(sounding)
    gain = np.sqrt(wanted / energy)
    mixture[place : place + len(wet)] += np.float32(gain) * wet
    return place + onset, place + offset


def _transmit(
    call: Call, sr: int, channel: Response, room: np.ndarray, margin: int
) -> tuple[np.ndarray, np.ndarray]:
    """The call at the recorder without and with reverberation, both ``margin`` late."""
    n = len(call.samples) + 2 * margin
    reverberant = np.isfinite(call.wet_db) and len(room) > 0
    m = fast_length(n + len(room) if reverberant else n)
    padded = np.zeros(m, np.float32)
    padded[margin : margin + len(call.samples)] = call.samples
    spectrum_F = rfft(padded) * channel.bins(m, sr)
    if call.distance_m:
        f_H = np.linspace(0.0, sr / 2, 256)
        loss_db = AIR_DB_PER_M * call.distance_m * (f_H / 1000.0) ** AIR_POWER
        spectrum_F *= Response(f_H, 10 ** (-loss_db / 20)).bins(m, sr)
    direct = irfft(spectrum_F, m)[:n]
    if not reverberant:
        return direct, direct
    tail = irfft(spectrum_F * rfft(room, m), m)[: n + len(room)]
    energy = max(1e-20, float(np.vdot(tail, tail)))
    wet = tail * np.float32(np.sqrt(10 ** (call.wet_db / 10) * np.vdot(direct, direct) / energy))
    wet[:n] += direct
    return direct, wet


def audible(x: np.ndarray, sr: int) -> np.ndarray:
    """Which samples (n,) of a call sound: its 5 ms power is within 30 dB of its peak."""
    width = max(1, round(ENVELOPE_S * sr))
    total = np.concatenate([[0.0], np.cumsum(x.astype(np.float64) ** 2)])
    left = np.maximum(np.arange(len(x)) - width // 2, 0)
    right = np.minimum(left + width, len(x))
    power = total[right] - total[left]
    assert power.max() > 0, "a call is silent"
    return power >= power.max() * 10 ** (-AUDIBLE_DB / 10)


def _powers_in_band(call: np.ndarray, under: np.ndarray) -> tuple[float, float]:
    """Energy of a call (n,) and mean power of what lies under it (w,), in the call's own band."""
    m = fast_length(max(len(call), len(under)))
    energy_F = np.abs(rfft(call, m)) ** 2
    share_F = np.cumsum(energy_F, dtype=np.float64)
    low, high = np.interp(np.array(BAND_EDGES) * share_F[-1], share_F, np.arange(len(share_F)))
    centre = np.sqrt(max(1.0, low) * max(1.0, high))
    half = 2 ** (NARROWEST_OCT / 2)
    band = slice(int(min(low, centre / half)), ceil(max(high, centre * half)) + 1)
    under_F = np.abs(rfft(under, m)[band]) ** 2
    # Parseval; the factor 2 is for the negative frequencies.
    energy = 2 / m * float(energy_F[band].sum(dtype=np.float64))
    return energy, 2 / m / len(under) * float(under_F.sum(dtype=np.float64))


# --- what a place sounds like -------------------------------------------------------------------


def reverberation(rng: np.random.Generator, *, rt60_s: float, sr: int) -> np.ndarray:
    """Exponentially decaying noise, (n,) float32 with unit energy, 60 dB down after ``rt60_s``.

    Moorer (1979), "About this reverberation business"; high frequencies decay faster, as in
    woods and rooms. It starts with the first reflections, a few milliseconds after the sound.
    """
    n = max(2, round(rt60_s * sr))
    t = np.arange(n, dtype=np.float32) / sr
    noise = rng.standard_normal(n, dtype=np.float32)
    dull = np.asarray(lfilter([0.4], [1.0, -0.6], noise), np.float32)
    x = noise * np.exp(-6.9 * 2.0 / rt60_s * t) + dull * np.exp(-6.9 / rt60_s * t)
    x[: min(n // 2, round(rng.uniform(0.002, 0.03) * sr))] = 0.0
    return x / np.sqrt(np.vdot(x, x))


def random_channel(
    rng: np.random.Generator, *, eq_db: float, lowest_top_hz: float, sr: int
) -> Response:
    """A recorder nobody knows: tilt and bumps of ``eq_db``, a high-pass, perhaps a narrow band.

    Args:
        rng: of this recording.
        eq_db: standard deviation of the response at any frequency; 0: flat.
        lowest_top_hz: what sounds below this is kept by the band limit.
        sr: sample rate, Hz.
    """
    f_H = np.concatenate([[0.0], np.geomspace(20.0, sr / 2, 160)])
    octave_H = np.log2(np.maximum(f_H, 20.0) / 20.0)
    knots = np.linspace(0, octave_H[-1], 7)
    bumps_db = np.interp(octave_H, knots, rng.normal(0, 0.7, len(knots)))
    tilt_db = rng.normal(0, 0.7) * 2 * (octave_H / octave_H[-1] - 0.5)
    gain_H = 10 ** (eq_db * (bumps_db + tilt_db) / 20)
    corner_hz = np.exp(rng.uniform(np.log(15), np.log(150)))
    gain_H /= np.sqrt(1 + (corner_hz / np.maximum(f_H, 1.0)) ** 4)
    if eq_db and rng.uniform() < 0.5 and lowest_top_hz < sr / 2:
        # Many recordings were made, sent or kept at a lower rate.
        top_hz = rng.uniform(lowest_top_hz, sr / 2)
        gain_H /= np.sqrt(1 + (f_H / top_hz) ** 60)
    return Response(f_H, gain_H)


def _level(x: np.ndarray) -> float:
    return float(np.sqrt(np.vdot(x, x) / len(x)))


def _slow(rng: np.random.Generator, n: int, sr: int, period_s: float, spread: float) -> np.ndarray:
    """A level that wanders: linear interpolation between log-normal draws, (n,) float32."""
    width = max(1, round(period_s * sr))
    return _ramps(np.exp(rng.normal(0, spread, ceil(n / width) + 1)), width)[:n]


def _coloured(rng: np.random.Generator, n: int, sr: int, response: Response) -> np.ndarray:
    """Gaussian noise of a given spectrum, (n,) float32."""
    m = fast_length(n)
    white_F = rng.standard_normal(2 * (m // 2 + 1), dtype=np.float32).view(np.complex64)
    white_F *= response.bins(m, sr)
    return irfft(white_F, m)[:n]


def background(
    rng: np.random.Generator,
    n: int,
    *,
    sr: int,
    channel: Response,
    level_db: float,
    wind: float,
    rain: float,
    hum: float,
) -> np.ndarray:
    """Coloured noise, and by chance wind, rain and mains hum: (n,) float32 at ``level_db``.

    ``wind``, ``rain`` and ``hum`` are the probabilities that each is heard.
    """
    f_H = np.concatenate([[0.0], np.geomspace(10.0, sr / 2, 256)])
    at_H = channel.at(f_H)
    above_H = np.maximum(f_H, 20.0) / 1000.0
    # Between white (0) and brown (-6 dB per octave), a bit beyond.
    slope = rng.uniform(-1.2, 0.1)
    x = _coloured(rng, n, sr, Response(f_H, at_H * above_H**slope))
    x *= _slow(rng, n, sr, period_s=4.0, spread=0.2) / np.float32(_level(x))
    if rng.uniform() < wind:
        corner_hz = rng.uniform(60, 400)
        gusts = _coloured(rng, n, sr, Response(f_H, at_H / (1 + (f_H / corner_hz) ** 2)))
        gusts *= _slow(rng, n, sr, period_s=rng.uniform(0.5, 2.0), spread=1.0)
        x += gusts * np.float32(10 ** (rng.uniform(-10, 10) / 20) / _level(gusts))
    if rng.uniform() < rain:
        drops = _rain(rng, n, sr, f_H, channel)
        x += drops * np.float32(10 ** (rng.uniform(-15, 5) / 20) / _level(drops))
    if rng.uniform() < hum:
        tone = _hum(rng, n, sr, channel)
        x += tone * np.float32(10 ** (rng.uniform(-20, 0) / 20) / _level(tone))
    return x * np.float32(10 ** (level_db / 20) / _level(x))


def _rain(
    rng: np.random.Generator, n: int, sr: int, f_H: np.ndarray, channel: Response
) -> np.ndarray:
    """Drops as short bursts of noise at random times over a hiss of many more."""
    count = rng.poisson(n / sr * np.exp(rng.uniform(np.log(3), np.log(150))))
    train = np.zeros(n, np.float32)
    train[rng.integers(0, n, count)] = rng.exponential(1.0, count)
    fade = np.float32(np.exp(-1 / (rng.uniform(0.001, 0.006) * sr)))
    bursts = lfilter(np.array([1], np.float32), np.array([1, -fade], np.float32), train)
    envelope = np.asarray(bursts) + np.float32(rng.uniform(0.0, 0.2))
    centre_hz, octaves = rng.uniform(800, 5000), rng.uniform(0.7, 2.0)
    band_H = np.exp(-0.5 * (np.log2(np.maximum(f_H, 1.0) / centre_hz) / octaves) ** 2)
    drops = _coloured(rng, n, sr, Response(f_H, band_H)) * envelope
    # Last: the drops' sharp onsets must pass through the recorder, too.
    m = fast_length(n)
    return irfft(rfft(drops, m) * channel.bins(m, sr), m)[:n]


def _hum(rng: np.random.Generator, n: int, sr: int, channel: Response) -> np.ndarray:
    """Mains hum: 50 or 60 Hz and harmonics, one whole period repeated."""
    mains_hz = rng.choice([50.0, 60.0])
    period = round(10 * sr / mains_hz)
    k = np.arange(1, rng.integers(3, 16))
    gain = 10 ** (-rng.uniform(0, 18, len(k)) / 20) / k**0.5 * channel.at(k * mains_hz)
    t = np.arange(period) / period * 10
    waves = np.sin(2 * pi * (k[:, None] * t + rng.uniform(0, 1, (len(k), 1))))
    return np.tile((gain @ waves).astype(np.float32), n // period + 1)[:n]
