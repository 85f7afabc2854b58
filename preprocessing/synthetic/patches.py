"""Patches of a synthesizer: sounds that no invented species makes, for tests of another world.

Species and textures (`preprocessing.synthetic.species`) are sources behind filters. A patch is a
few operators that modulate each other's frequency (Chowning 1973, J. Audio Eng. Soc. 21, 526-534),
with feedback up to chaos, plucked strings (Karplus and Strong 1983, Computer Music J. 7, 43-55) or
grains of noise; struck once, in a rhythm, or at random. How much sounds of one patch differ is
drawn, too: kinds of real sounds are as narrow as one machine or as wide as all dogs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, pi

import numpy as np
from scipy.signal import lfilter

from preprocessing.synthetic.mixing import Call, background, mix, random_channel, reverberation
from preprocessing.synthetic.species import log_uniform

PATCHES, CLIPS, CLIP_S = 40, 10, 5.0
SOURCES = ("operators", "feedback", "string", "grains")
RHYTHMS = ("once", "pulse", "phrase", "shower")
EDITED = 0.4  # share of clips that were cut from silence: no background, zeros around
REVERB, REVERB_S, WET_DB = 0.5, (0.1, 1.5), (-20.0, 0.0)
MOST_HITS = 80
SHORTEST_HIT_S = 0.01


@dataclass(frozen=True)
class Spread:
    """How much clips of one kind differ.

    Attributes:
        width: lowest and highest standard deviation, over kinds, of what a clip changes, relative
            (durations, rates) or in octaves (pitch).
        snr_db: of a sound over its place.
    """

    width: tuple[float, float]
    snr_db: tuple[float, float]


PLAIN = Spread((0.2, 1.2), (3.0, 35.0))
WIDE = Spread((0.4, 1.6), (0.0, 30.0))


@dataclass(frozen=True)
class Patch:
    """What is common to all sounds of a kind. Times in seconds, pitches in Hz."""

    source: str
    rhythm: str
    width: float
    pitch_hz: float
    ratio: float  # of the modulating operator
    index: float  # of the modulation, radians; of strings the damping, of grains the bandwidth
    index_fall: float  # nepers over a hit
    glide_oct: float  # over a hit
    wobble_hz: float
    wobble_oct: float
    hit_s: float
    attack: float  # share of a hit
    fall: float  # nepers over a hit
    every_s: float  # from hit to hit
    hits: int  # of a phrase
    step_oct: float  # from hit to hit
    noise: float  # beside the tone


def draw_patch(rng: np.random.Generator, spread: Spread = PLAIN) -> Patch:
    """Turn every knob."""
    source = str(rng.choice(SOURCES))
    rhythm = str(rng.choice(RHYTHMS))
    shower = rhythm == "shower"
    every_s = log_uniform(rng, 0.02, 0.3) if shower else log_uniform(rng, 0.06, 1.2)
    longest_s = {"once": 2.5, "shower": 0.15}.get(rhythm, 1.5 * every_s)
    return Patch(
        source=source,
        rhythm=rhythm,
        width=log_uniform(rng, *spread.width),
        pitch_hz=log_uniform(rng, 90, 5000),
        ratio=rng.choice([rng.uniform(0.2, 4.0), float(rng.integers(1, 5))]),
        index=log_uniform(rng, 0.3, 12.0),
        index_fall=rng.uniform(-1.0, 4.0),
        glide_oct=rng.normal(0, 0.5),
        wobble_hz=log_uniform(rng, 2, 40),
        wobble_oct=rng.choice([0.0, rng.uniform(0.02, 0.3)]),
        hit_s=log_uniform(rng, min(0.02, longest_s / 2), longest_s),
        attack=log_uniform(rng, 0.005, 0.6),
        fall=rng.uniform(0.0, 6.0),
        every_s=every_s,
        hits=int(rng.integers(2, 9)),
        step_oct=rng.choice([0.0, rng.normal(0, 0.2)]),
        noise=rng.choice([0.0, log_uniform(rng, 0.02, 1.0)]),
    )


def patch_clips(
    seed: int, sr: int, spread: Spread = PLAIN
) -> Iterator[tuple[str, np.ndarray, str, str]]:
    """Clips of 5 s: name, samples (int16), label, source; every clip another place and recorder."""
    for number in range(PATCHES):
        patch = draw_patch(np.random.default_rng([seed, number]), spread)
        for take in range(CLIPS):
            name = f"{number:03d}_{take:02d}"
            rng = np.random.default_rng([seed, number, take])
            samples = _clip(patch, rng, sr, spread.snr_db)
            yield name, samples, f"patch_{number:03d}", name


def _clip(
    patch: Patch, rng: np.random.Generator, sr: int, snr_range_db: tuple[float, float]
) -> np.ndarray:
    n = round(CLIP_S * sr)
    sound = play(patch, rng, sr)
    channel = random_channel(rng, eq_db=5.0, lowest_top_hz=3000.0, sr=sr)
    place = background(
        rng, n, sr=sr, channel=channel, level_db=rng.uniform(-50, -25),
        wind=0.3, rain=0.2, hum=0.2,
    )  # fmt: skip
    edited = rng.uniform() < EDITED
    wet_db = rng.uniform(*WET_DB) if rng.uniform() < REVERB else -np.inf
    room = reverberation(rng, rt60_s=log_uniform(rng, *REVERB_S), sr=sr)
    latest_s = max(0.0, CLIP_S - len(sound) / sr)
    snr_db = rng.uniform(40, 70) if edited else rng.uniform(*snr_range_db)
    call = Call(sound, rng.uniform(0, latest_s), "patch", snr_db, 0.0, wet_db)
    x, events = mix([call], place, sr=sr, channel=channel, room=room)
    if edited:
        first, last = (round(float(events[edge].iloc[0]) * sr) for edge in ("start_s", "end_s"))
        around = round(0.1 * sr)
        x[: max(0, first - around)] = 0.0
        x[last + around :] = 0.0
    loudest_db = rng.uniform(-25, -1)
    return np.rint(32767 * x * (10 ** (loudest_db / 20) / np.abs(x).max())).astype(np.int16)


def play(patch: Patch, rng: np.random.Generator, sr: int) -> np.ndarray:
    """A sound of the patch, dry: (samples,) float32 with a peak of 1, at most 5 s."""
    w = patch.width

    def off(scale: float) -> float:
        return w * scale * max(-2.0, min(2.0, rng.normal()))

    tempo, pitch_hz = exp(off(0.8)), patch.pitch_hz * 2 ** off(0.8)
    hits = max(1, round(patch.hits * exp(off(1.0))))
    every_s, n = patch.every_s * tempo, round(CLIP_S * sr)
    if patch.rhythm == "once":
        starts_s = [0.0]
    elif patch.rhythm == "shower":
        count = min(MOST_HITS, max(3, rng.poisson(CLIP_S / every_s)))
        starts_s = sorted(rng.uniform(0, CLIP_S - 0.2, count))
    else:
        count = hits if patch.rhythm == "phrase" else int(CLIP_S / every_s)
        count = max(1, min(MOST_HITS, count))
        starts_s = [every_s * (i + 0.03 * rng.normal() * (i > 0)) for i in range(count)]
    x = np.zeros(n, np.float32)
    turn = 2 ** off(0.6)
    for i, start_s in enumerate(starts_s):
        scatter = 2.0 if patch.rhythm == "shower" else 0.3
        hz = pitch_hz * 2 ** (patch.step_oct * (i % hits) + off(0.1) * scatter)
        length_s = max(SHORTEST_HIT_S, patch.hit_s * tempo * exp(off(0.4)))
        hit = _hit(patch, rng, sr, hz, length_s, turn * exp(off(0.3)))
        at = max(0, round(start_s * sr))
        if at >= n:
            break
        hit = hit[: n - at] * np.float32(10 ** (rng.normal(0, 2.0 + scatter) / 20))
        x[at : at + len(hit)] += hit
    sounding = np.flatnonzero(np.abs(x) > 1e-4 * np.abs(x).max())
    x = x[: sounding[-1] + 1]
    return x / np.abs(x).max()


def _hit(
    patch: Patch, rng: np.random.Generator, sr: int, hz: float, length_s: float, turn: float
) -> np.ndarray:
    """One hit, ``turn`` times as bright as the patch's: (samples,) float32."""
    n = max(16, round(length_s * sr))
    t = np.arange(n) / n
    wobble = patch.wobble_oct * np.sin(2 * pi * (patch.wobble_hz * length_s * t + rng.uniform()))
    hz_n = np.clip(hz * 2 ** (patch.glide_oct * t + wobble), 30, 0.4 * sr)
    x = _SOURCES[patch.source](patch, rng, sr, hz_n, turn)
    if patch.noise:
        x = x + patch.noise * np.std(x) * rng.standard_normal(n)
    rise = np.minimum(1.0, t / patch.attack)
    x = x * rise * np.exp(-patch.fall * t) * np.minimum(1.0, (1 - t) / 0.05)
    return (x / max(1e-9, np.abs(x).max())).astype(np.float32)


def _operators(
    patch: Patch, rng: np.random.Generator, sr: int, hz_n: np.ndarray, turn: float
) -> np.ndarray:
    phase = 2 * pi * np.cumsum(hz_n) / sr
    index = patch.index * turn * np.exp(-patch.index_fall * np.linspace(0, 1, len(hz_n)))
    return np.sin(phase + index * np.sin(patch.ratio * phase + rng.uniform(0, 2 * pi)))


def _feedback(
    patch: Patch, rng: np.random.Generator, sr: int, hz_n: np.ndarray, turn: float
) -> np.ndarray:
    """An operator that modulates itself: a saw at first, beyond an index of about 1.5 chaos."""
    phase = (2 * pi * np.cumsum(hz_n) / sr + rng.uniform(0, 2 * pi)).tolist()
    strength, one, two, x = 0.3 * patch.index * turn, 0.0, 0.0, []
    for p in phase:
        one, two = float(np.sin(p + strength * 0.5 * (one + two))), one
        x.append(one)
    return np.array(x)


def _string(
    patch: Patch, rng: np.random.Generator, sr: int, hz_n: np.ndarray, turn: float
) -> np.ndarray:
    period = max(2, round(sr / hz_n[0]))
    pluck = np.zeros(len(hz_n))
    pluck[:period] = rng.uniform(-1, 1, min(period, len(hz_n)))
    loss = 1 - min(0.2, 0.004 * patch.index / turn)
    comb = np.zeros(period + 2)
    comb[0], comb[period], comb[period + 1] = 1.0, -0.5 * loss, -0.5 * loss
    return np.asarray(lfilter([1.0], comb, pluck))


def _grains(
    patch: Patch, rng: np.random.Generator, sr: int, hz_n: np.ndarray, turn: float
) -> np.ndarray:
    """Noise through a resonance as wide as the index says."""
    centre, share = 2 * pi * hz_n.mean() / sr, min(0.9, 0.05 * patch.index * turn)
    radius = exp(-0.5 * centre * share)
    poles = [1.0, -2 * radius * np.cos(centre), radius**2]
    return np.asarray(lfilter([1.0, 0.0, -1.0], poles, rng.standard_normal(len(hz_n))))


_SOURCES = {"operators": _operators, "feedback": _feedback, "string": _string, "grains": _grains}
