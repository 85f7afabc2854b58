"""Tracks: some seconds of one invented individual, dry: calls, bouts, choruses or textures.

What a place, a recorder and other voices add is mixed in afterwards (`preprocessing.synthetic.
power_scenes`). Who sings depends on a seed, a slot and a life alone: when a slot's species has
been heard enough it is followed by another one, so that the world never ends.
"""

from dataclasses import dataclass, replace
from math import exp, log

import numpy as np

from preprocessing.synthetic.rendering import render
from preprocessing.synthetic.species import (
    FAMILIES,
    KINDS,
    Species,
    Syllable,
    draw,
    log_uniform,
    vary,
)

# A texture lasts: rain, waves, engines, saws, fire; each is one long syllable of a family.
TEXTURE = "texture"
TEXTURES = ("noise", "noise", "pulse", "pulse", "buzz", "harmonic")
TEXTURE_HZ = (60.0, 6000.0)
TEXTURE_RAMP = 0.003  # share of the texture, so that its edges do not click
# How much tracks of one texture differ; calls have their own `jitter`.
TEXTURE_JITTER = 0.05
BOUT_GAP_S = (0.1, 2.5)
SHORTEST_GAP_S = 0.02
MOST_CALLS = 12
CALL_LEVEL_DB = 1.5  # standard deviation between the calls of a bout
# A chorus is many at once: frogs, crickets, applause, rain on leaves.
CHORUS_HZ = (1.5, 40.0)  # calls a second
CHORUS_CALL_S = 0.4  # longer calls would take too long to make
CHORUS_VOICES = 6
CHORUS_LEVEL_DB = 6.0
# Waves, gusts and passing cars: textures that swell. Share of the noises, swells a second.
SURGES, SURGE_HZ = 0.4, (0.15, 3.0)
# What is struck rings in many narrow modes.
STRUCK_MODES, STRUCK_WIDTH, STRUCK_S = (3, 12), (0.002, 0.06), (0.05, 0.6)
STRAINED, DRIVEN, DRIVE_DB = 0.3, 0.25, (3.0, 25.0)


@dataclass(frozen=True)
class TrackSettings:
    """What tracks are like; see `pretrain.world` in conf/pretrain.yaml."""

    seed: int
    sr: int
    track_s: float
    textures: float  # share of species that last
    choruses: float  # share of the others of which many call at once
    struck: float  # share of the others that are struck
    bouts: float  # share of the others that repeat their calls
    f0_hz: tuple[float, float]
    call_s: tuple[float, float]
    individual: tuple[float, float]
    jitter: float


@dataclass(frozen=True)
class Voice:
    """A species, and how it is heard.

    Attributes:
        gap_s: between its calls; 0: it calls once.
        width: how much its individuals differ: some kinds are narrow, as wrens are, some wide, as
            dogs are.
        chorus_hz: calls a second of many at once; 0: one calls.
    """

    species: Species
    gap_s: float
    width: float
    chorus_hz: float = 0.0


def voice(settings: TrackSettings, rng: np.random.Generator) -> Voice:
    """Invent a species."""
    width = log_uniform(rng, *settings.individual)
    if rng.uniform() < settings.textures:
        return Voice(_texture(settings, rng), 0.0, width)
    species = draw(rng, kinds=KINDS, f0_hz=settings.f0_hz, call_s=settings.call_s)
    if rng.uniform() < settings.struck:
        species = _struck(settings, rng)
    species = replace(
        species,
        syllables=tuple(_strained(s, rng) for s in species.syllables),
        elastic=species.elastic or (len(species.pattern) > 1 and rng.uniform() < width),
    )
    if rng.uniform() < settings.choruses:
        short = min(
            1.0, CHORUS_CALL_S / sum(species.syllables[i].duration_s for i in species.pattern)
        )
        cut = tuple(replace(s, duration_s=s.duration_s * short) for s in species.syllables)
        chorus_hz = log_uniform(rng, *CHORUS_HZ)
        return Voice(replace(species, syllables=cut), 0.0, width, chorus_hz)
    gap_s = log_uniform(rng, *BOUT_GAP_S) if rng.uniform() < settings.bouts else 0.0
    return Voice(species, gap_s, width)


def _texture(settings: TrackSettings, rng: np.random.Generator) -> Species:
    family = FAMILIES[str(rng.choice(TEXTURES))]
    lasting = family(rng, settings.track_s, log_uniform(rng, *TEXTURE_HZ))
    lasting = replace(
        lasting,
        attack=TEXTURE_RAMP,
        release=TEXTURE_RAMP,
        decay=0.0,
        rate_oct=0.0,
        contour_oct=lasting.contour_oct * rng.choice([0.0, 0.2]),
    )
    if lasting.source == "noise" and not lasting.rate_hz and rng.uniform() < SURGES:
        lasting = replace(
            lasting,
            rate_hz=log_uniform(rng, *SURGE_HZ),
            depth=rng.uniform(0.5, 1.0),
            sharpness=log_uniform(rng, 0.7, 3.0),
        )
    return Species(TEXTURE, (lasting,), (0,), 0.0, 0.0, 0.0, 0.0, False)


def _struck(settings: TrackSettings, rng: np.random.Generator) -> Species:
    """Metal, wood, glass: one blow or a few, and modes in no harmonic order."""
    low_hz, high_hz = settings.f0_hz
    count = int(rng.integers(*STRUCK_MODES))
    centre = np.exp(rng.uniform(log(low_hz), log(high_hz), count))
    width = centre * log_uniform(rng, *STRUCK_WIDTH) * np.exp(rng.normal(0, 0.3, count))
    modes = np.stack([centre, width, 10 ** (rng.uniform(-18, 0, count) / 20)], axis=1)
    blow = replace(
        FAMILIES["pulse"](rng, log_uniform(rng, *STRUCK_S), float(centre.min())),
        formants=modes,
        formant_end=np.ones(count),
        decay=rng.uniform(0.0, 3.0),
        attack=0.0,
    )
    blow = replace(blow, rate_hz=float(rng.integers(1, 5)) / blow.duration_s + 0.01)
    return Species("struck", (blow,), (0,), 0.0, 0.0, 0.0, 0.0, False)


def _strained(syllable: Syllable, rng: np.random.Generator) -> Syllable:
    """Subharmonics and overdrive, by chance: barks, cries and crows are full of both."""
    if syllable.source == "partials" and rng.uniform() < STRAINED:
        syllable = replace(syllable, subharmonic=rng.uniform(0.2, 1.0))
    if rng.uniform() < DRIVEN:
        syllable = replace(syllable, drive_db=rng.uniform(*DRIVE_DB))
    return syllable


def tracks(
    settings: TrackSettings, slot: int, life: int, *, individuals: int, takes: int
) -> list[np.ndarray]:
    """The species of a slot's life: some tracks of each of some individuals.

    Returns:
        ``individuals * takes`` arrays ``(samples,)`` float32 of ``track_s``, silent where nobody
        calls.
    """
    seeds = np.random.SeedSequence([settings.seed, slot, life])
    rng = np.random.Generator(np.random.SFC64(seeds))
    made = voice(settings, rng)
    made_of = [_individual(made, settings, rng) for _ in range(individuals)]
    return [_track(one, settings, rng) for one in made_of for _ in range(takes)]


def _individual(made: Voice, settings: TrackSettings, rng: np.random.Generator) -> Voice:
    species = _lasting(vary(made.species, rng, made.width), settings)
    faster = exp(made.width * rng.normal())
    return replace(
        made, species=species, gap_s=made.gap_s / faster, chorus_hz=made.chorus_hz * faster
    )


def _track(individual: Voice, settings: TrackSettings, rng: np.random.Generator) -> np.ndarray:
    """One track: a texture, a chorus, a call, or a bout from its start until time is over."""
    if individual.chorus_hz:
        return _chorus(individual, settings, rng)
    x = np.zeros(round(settings.track_s * settings.sr), np.float32)
    texture = individual.species.kind == TEXTURE
    jitter = TEXTURE_JITTER if texture else settings.jitter
    at = 0
    for _ in range(MOST_CALLS if individual.gap_s else 1):
        species = _lasting(vary(individual.species, rng, jitter), settings)
        call = render(species, rng, sr=settings.sr)[: len(x) - at]
        x[at : at + len(call)] = call * np.float32(10 ** (CALL_LEVEL_DB * rng.normal() / 20))
        gap_s = individual.gap_s * exp(jitter * rng.normal())
        at += len(call) + round(max(SHORTEST_GAP_S, gap_s) * settings.sr)
        if at >= len(x):
            break
    return x


def _chorus(individual: Voice, settings: TrackSettings, rng: np.random.Generator) -> np.ndarray:
    """A few voices, each heard again and again, at any moment."""
    x = np.zeros(round(settings.track_s * settings.sr), np.float32)
    voices = [
        render(vary(individual.species, rng, settings.jitter), rng, sr=settings.sr)
        for _ in range(CHORUS_VOICES)
    ]
    for at in rng.integers(0, len(x), max(2, rng.poisson(individual.chorus_hz * settings.track_s))):
        call = voices[rng.integers(CHORUS_VOICES)][: len(x) - at]
        x[at : at + len(call)] += call * np.float32(10 ** (CHORUS_LEVEL_DB * rng.normal() / 20))
    return x


def _lasting(species: Species, settings: TrackSettings) -> Species:
    """A texture as long as a track, whatever varying it did to its duration."""
    if species.kind != TEXTURE:
        return species
    lasting = tuple(replace(s, duration_s=settings.track_s) for s in species.syllables)
    return replace(species, syllables=lasting)
