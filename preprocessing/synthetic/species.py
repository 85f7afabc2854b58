"""Invented species: a draw of how one calls, and the rendering of its single calls.

A species is a few syllables and the pattern they are sung in. A syllable is a source (partials
of a fundamental, noise or pulses) behind a filter (formants) under an envelope, so that the
families below differ only in how those numbers are drawn. Individuals, and calls of one
individual, are the same draw with its numbers shifted a little (`vary`).

Source-filter synthesis after Fant, "Acoustic Theory of Speech Production" (1960), and its use
for animal voices by Taylor and Reby (2010), J. Zool. 280, 221-236.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log, pi

import numpy as np

# Of a contour: enough points for three cycles, so few that linear interpolation stays cheap.
CONTOUR_POINTS = 33
CONTOUR_TIME = np.linspace(0.0, 1.0, CONTOUR_POINTS)
SHORTEST_SYLLABLE_S = 0.02
LOWEST_VOICE_HZ = 70.0


@dataclass(frozen=True)
class Syllable:
    """How one syllable sounds; every family fills in the same numbers."""

    source: str  # "partials" | "noise" | "pulses"
    duration_s: float
    f0_hz: float  # pitch; of noise and pulses the centre of the lowest formant
    contour_oct: np.ndarray  # (CONTOUR_POINTS,) pitch over the syllable, octaves from f0_hz
    note_oct: np.ndarray  # (CONTOUR_POINTS,) pitch over one note of a trill, added to the contour
    partials: int
    tilt_db: float  # dB per octave over the partials
    odd_only: float  # 0: all partials, 1: the odd ones
    formants: np.ndarray  # (n, 3): centre_hz, bandwidth_hz, gain
    formant_end: np.ndarray  # (n,) factor on the centres at the syllable's end
    breath_db: float  # noise beside the partials
    rough_oct: float  # irregular pitch
    vibrato_hz: float
    vibrato_oct: float
    rate_hz: float  # of notes, pulses or amplitude modulation; 0: none
    rate_oct: float  # the rate changes by this much over the syllable
    depth: float  # of the amplitude modulation
    sharpness: float  # 1: sinusoidal modulation; higher: shorter notes
    irregular: float  # pulses: 0 regular, 1 at random (Poisson)
    attack: float  # share of the syllable
    release: float  # share of the syllable
    decay: float  # exponential decay over the syllable, nepers
    level_db: float
    subharmonic: float = 0.0  # depth of every other period; a voice under strain has some
    drive_db: float = 0.0  # into saturation, which adds partials


@dataclass(frozen=True)
class Species:
    """Syllables and the pattern they are sung in.

    Attributes:
        kind: the family it was drawn from.
        pattern: index into ``syllables``, one for each syllable sung.
        gap: silence between syllables as a share of the syllable before.
        tempo_oct: syllables and gaps grow shorter by this factor over the call.
        drift_oct: pitch changes by this much over the call.
        swell_db: level changes by this much over the call.
        elastic: calls may repeat the pattern more or less often.
    """

    kind: str
    syllables: tuple[Syllable, ...]
    pattern: tuple[int, ...]
    gap: float
    tempo_oct: float
    drift_oct: float
    swell_db: float
    elastic: bool

    @property
    def pitch_hz(self) -> float:
        """Middle of its syllables' pitches, geometric."""
        return exp(float(np.mean([log(s.f0_hz) for s in self.syllables])))


# --- drawing ------------------------------------------------------------------------------------


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two, as likely in every octave."""
    return exp(rng.uniform(log(low), log(high)))


def _contour(rng: np.random.Generator, most_oct: float) -> np.ndarray:
    """A pitch contour of one of the shapes that field guides name; zero mean, octaves."""
    t = CONTOUR_TIME
    shape = rng.choice(["flat", "slope", "arch", "wave", "step", "wander"])
    if shape == "slope":
        y = 2 * t ** rng.uniform(0.5, 2.0) - 1
    elif shape == "arch":
        peak = rng.uniform(0.15, 0.85)
        y = 2 * np.interp(t, [0, peak, 1], [0, 1, rng.uniform(0, 0.6)]) - 1
        y = np.sin(pi / 2 * y)
    elif shape == "wave":
        y = np.sin(2 * pi * (rng.uniform(0.75, 3.0) * t + rng.uniform()))
    elif shape == "step":
        y = np.tanh((t - rng.uniform(0.25, 0.75)) * rng.uniform(15, 60))
    elif shape == "wander":
        y = sum(rng.normal() / k * np.sin(pi * k * (t + rng.uniform())) for k in range(1, 5))
    else:
        y = np.zeros(CONTOUR_POINTS)
    sweep = log_uniform(rng, 0.04, most_oct) * rng.choice([-0.5, 0.5])
    return sweep * (y - np.mean(y))


def _formants(
    rng: np.random.Generator, lowest_hz: float, n: int, width: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """``n`` resonances upwards from ``lowest_hz`` and how each moves during a syllable."""
    spacing = np.concatenate([[1.0], np.cumprod(rng.uniform(1.3, 2.6, n - 1))])
    centres = lowest_hz * spacing
    widths = centres * [log_uniform(rng, *width) for _ in range(n)]
    gains = 10 ** (np.cumsum(np.r_[0.0, rng.uniform(-12, 3, n - 1)]) / 20)
    moves = 2 ** rng.normal(0, rng.choice([0.0, 0.4]), n)
    return np.stack([centres, widths, gains], axis=1), moves


def _plain(rng: np.random.Generator, duration_s: float, f0_hz: float) -> Syllable:
    """A short whistle: what the families start from."""
    return Syllable(
        source="partials",
        duration_s=duration_s,
        f0_hz=f0_hz,
        contour_oct=np.zeros(CONTOUR_POINTS),
        note_oct=np.zeros(CONTOUR_POINTS),
        partials=1,
        tilt_db=-12.0,
        odd_only=0.0,
        formants=np.zeros((0, 3)),
        formant_end=np.zeros(0),
        breath_db=-60.0,
        rough_oct=0.0,
        vibrato_hz=0.0,
        vibrato_oct=0.0,
        rate_hz=0.0,
        rate_oct=0.0,
        depth=0.0,
        sharpness=1.0,
        irregular=0.0,
        attack=rng.uniform(0.03, 0.5),
        release=rng.uniform(0.1, 0.6),
        decay=rng.choice([0.0, rng.uniform(0.0, 4.0)]),
        level_db=0.0,
    )


def _tonal(rng: np.random.Generator, duration_s: float, f0_hz: float) -> Syllable:
    vibrato = rng.uniform() < 0.25
    return replace(
        _plain(rng, duration_s, f0_hz),
        contour_oct=_contour(rng, 1.5),
        partials=int(rng.integers(1, 5)),
        tilt_db=rng.uniform(-24, -6),
        breath_db=rng.uniform(-60, -25),
        vibrato_hz=rng.uniform(4, 40) if vibrato else 0.0,
        vibrato_oct=rng.uniform(0.02, 0.15) if vibrato else 0.0,
    )


def _harmonic(rng: np.random.Generator, duration_s: float, f0_hz: float) -> Syllable:
    # Voices sit low; the formants say where the energy lies.
    f0_hz = max(LOWEST_VOICE_HZ, f0_hz / 2 ** rng.uniform(0, 3))
    lowest_hz = max(1.2 * f0_hz, log_uniform(rng, 250, 1800))
    formants, moves = _formants(rng, lowest_hz, int(rng.integers(1, 5)), (0.08, 0.6))
    return replace(
        _plain(rng, duration_s, f0_hz),
        contour_oct=_contour(rng, 1.0),
        partials=int(rng.integers(8, 41)),
        tilt_db=rng.uniform(-9, -1),
        odd_only=rng.choice([0.0, 0.0, rng.uniform(0.5, 1.0)]),
        formants=formants,
        formant_end=moves,
        breath_db=rng.uniform(-40, -6),
        rough_oct=rng.choice([0.0, log_uniform(rng, 0.005, 0.12)]),
    )


def _trill(rng: np.random.Generator, duration_s: float, f0_hz: float) -> Syllable:
    voice = _tonal if rng.uniform() < 0.7 else _harmonic
    return replace(
        voice(rng, duration_s, f0_hz),
        contour_oct=_contour(rng, 0.4),
        note_oct=_contour(rng, 1.0),
        rate_hz=max(log_uniform(rng, 6, 60), 3 / duration_s),
        rate_oct=rng.normal(0, 0.3),
        depth=rng.uniform(0.85, 1.0),
        sharpness=log_uniform(rng, 0.7, 5),
        vibrato_oct=0.0,
    )


def _pulse(rng: np.random.Generator, duration_s: float, f0_hz: float) -> Syllable:
    # Clicks, taps and drops: small things ring high.
    formants, _ = _formants(rng, max(f0_hz, 250.0), int(rng.integers(1, 4)), (0.03, 1.2))
    return replace(
        _plain(rng, duration_s, f0_hz),
        source="pulses",
        formants=formants,
        formant_end=np.ones(len(formants)),
        rate_hz=max(log_uniform(rng, 3, 120), 2 / duration_s),
        rate_oct=rng.normal(0, 0.6),
        irregular=rng.choice([0.0, rng.uniform(0.02, 0.3), 1.0]),
        attack=rng.uniform(0.0, 0.4),
    )


def _noise(rng: np.random.Generator, duration_s: float, f0_hz: float) -> Syllable:
    formants, moves = _formants(rng, f0_hz, int(rng.integers(1, 4)), (0.2, 2.5))
    return replace(
        _plain(rng, duration_s, f0_hz),
        source="noise",
        formants=formants,
        formant_end=moves,
        attack=rng.uniform(0.01, 0.6),
        decay=rng.choice([0.0, rng.uniform(1.0, 6.0)]),
    )


def _buzz(rng: np.random.Generator, duration_s: float, f0_hz: float) -> Syllable:
    voice = _harmonic if rng.uniform() < 0.5 else _noise
    return replace(
        voice(rng, duration_s, f0_hz),
        rate_hz=max(log_uniform(rng, 8, 250), 3 / duration_s),
        rate_oct=rng.normal(0, 0.2),
        depth=rng.uniform(0.5, 1.0),
        sharpness=log_uniform(rng, 0.7, 6),
        attack=rng.uniform(0.02, 0.3),
        release=rng.uniform(0.02, 0.3),
    )


FAMILIES = {
    "tonal": _tonal,
    "harmonic": _harmonic,
    "trill": _trill,
    "pulse": _pulse,
    "noise": _noise,
    "buzz": _buzz,
}
# A phrase strings syllables of several families together, as speech, songs and sneezes do.
KINDS = (*FAMILIES, "phrase")


def draw(
    rng: np.random.Generator,
    *,
    kinds: Sequence[str],
    f0_hz: tuple[float, float],
    call_s: tuple[float, float],
) -> Species:
    """Invent a species: a family of ``kinds``, its pitch, duration, syllables and rhythm."""
    kind = str(rng.choice(list(kinds)))
    pitch_hz = log_uniform(rng, *f0_hz)
    length_s = log_uniform(rng, *call_s)
    if kind == "phrase":
        count, sorts = int(rng.integers(2, 5)), 4
        pattern = tuple(range(count))
    else:
        count = int(rng.choice([1, 2, 3, int(rng.integers(4, 10))], p=[0.45, 0.2, 0.15, 0.2]))
        sorts = 1 if count == 1 else int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
        pattern = tuple(i % sorts for i in range(count))
    count = max(1, min(count, int(length_s / (2 * SHORTEST_SYLLABLE_S))))
    pattern = pattern[:count]
    gap = 0.0 if count == 1 else log_uniform(rng, 0.05, 2.0)
    if kind == "phrase":
        gap = rng.choice([0.0, 0.3]) * gap
    mean_s = length_s / (count + gap * (count - 1))
    shares = rng.dirichlet(np.full(max(pattern) + 1, 8.0)) * (max(pattern) + 1)
    syllables = []
    for share in shares:
        family = FAMILIES[kind if kind != "phrase" else str(rng.choice(["harmonic", *FAMILIES]))]
        own_hz = float(np.clip(pitch_hz * 2 ** rng.normal(0, 0.35), *f0_hz))
        made = family(rng, max(SHORTEST_SYLLABLE_S, mean_s * share), own_hz)
        syllables.append(replace(made, level_db=rng.uniform(-9, 0) if syllables else 0.0))
    return Species(
        kind=kind,
        syllables=tuple(syllables),
        pattern=pattern,
        gap=gap,
        tempo_oct=rng.normal(0, 0.3) if count > 3 else 0.0,
        drift_oct=rng.normal(0, 0.15) if count > 1 else 0.0,
        swell_db=rng.normal(0, 4.0) if count > 1 else 0.0,
        elastic=kind != "phrase" and count > 3,
    )


def vary(species: Species, rng: np.random.Generator, amount: float) -> Species:
    """Another individual, or another call of one: ``species`` with every number shifted.

    ``amount`` is about the relative standard deviation of durations; pitch moves by half of it
    in octaves, formants by a quarter, levels by 6 dB for 1.0. What is common to all syllables
    (size of the animal, its tempo) moves together, the rest apart. 0 returns an equal species.
    """

    def off(scale: float) -> float:
        return amount * scale * max(-2.0, min(2.0, rng.normal()))

    pitch, tract, tempo = 2 ** off(0.4), 2 ** off(0.25), exp(off(0.7))
    pattern = species.pattern
    if species.elastic:
        count = max(2, round(len(pattern) * exp(off(1.0))))
        pattern = tuple(pattern[i % len(pattern)] for i in range(count))
    syllables = []
    for s in species.syllables:
        bend = sum(off(0.1) / k * np.sin(pi * k * CONTOUR_TIME) for k in (1, 2, 3))
        formants = s.formants.copy()
        formants[:, 0] *= tract * 2 ** np.array([off(0.2) for _ in formants])
        formants[:, 2] *= 10 ** (np.array([off(4.0) for _ in formants]) / 20)
        syllables.append(
            replace(
                s,
                duration_s=s.duration_s * tempo * exp(off(0.5)),
                f0_hz=s.f0_hz * pitch * 2 ** off(0.1),
                contour_oct=s.contour_oct * (1 + off(1.0)) + bend,
                note_oct=s.note_oct * (1 + off(0.5)),
                tilt_db=s.tilt_db + off(6.0),
                formants=formants,
                formant_end=s.formant_end ** (1 + off(1.0)),
                breath_db=s.breath_db + off(12.0),
                rough_oct=s.rough_oct * exp(off(1.0)),
                rate_hz=s.rate_hz * exp(off(0.4)) / tempo**0.5,
                attack=s.attack * exp(off(0.7)),
                decay=s.decay * exp(off(0.7)),
                level_db=s.level_db + off(6.0),
                subharmonic=min(1.0, s.subharmonic * exp(off(1.0))) if s.subharmonic else 0.0,
                drive_db=s.drive_db + off(8.0) if s.drive_db else 0.0,
            )
        )
    return replace(
        species,
        syllables=tuple(syllables),
        pattern=pattern,
        gap=species.gap * exp(off(1.0)),
        drift_oct=species.drift_oct + off(0.1),
        swell_db=species.swell_db + off(6.0),
    )
