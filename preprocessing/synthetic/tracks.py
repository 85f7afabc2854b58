"""Tracks: some seconds of one invented individual, dry: single calls, bouts of them, or textures.

What a place, a recorder and other voices add is mixed in afterwards (`preprocessing.synthetic.
power_scenes`). Who sings depends on a seed, a slot and a life alone: when a slot's species has
been heard enough it is followed by another one, so that the world never ends.
"""

from dataclasses import dataclass, replace
from math import exp, log

import numpy as np

from preprocessing.synthetic.rendering import render
from preprocessing.synthetic.species import FAMILIES, KINDS, Species, draw, vary

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


@dataclass(frozen=True)
class TrackSettings:
    """What tracks are like; see `pretrain.world` in conf/pretrain.yaml."""

    seed: int
    sr: int
    track_s: float
    textures: float  # share of species that last
    bouts: float  # share of the others that repeat their calls
    f0_hz: tuple[float, float]
    call_s: tuple[float, float]
    individual: float
    jitter: float


@dataclass(frozen=True)
class Voice:
    """A species and the pauses between its calls; 0: it calls once."""

    species: Species
    gap_s: float


def voice(settings: TrackSettings, rng: np.random.Generator) -> Voice:
    """Invent a species."""
    if rng.uniform() < settings.textures:
        family = FAMILIES[str(rng.choice(TEXTURES))]
        lasting = family(rng, settings.track_s, _log_uniform(rng, *TEXTURE_HZ))
        lasting = replace(
            lasting,
            attack=TEXTURE_RAMP,
            release=TEXTURE_RAMP,
            decay=0.0,
            rate_oct=0.0,
            contour_oct=lasting.contour_oct * rng.choice([0.0, 0.2]),
        )
        return Voice(Species(TEXTURE, (lasting,), (0,), 0.0, 0.0, 0.0, 0.0, False), 0.0)
    species = draw(rng, kinds=KINDS, f0_hz=settings.f0_hz, call_s=settings.call_s)
    gap_s = _log_uniform(rng, *BOUT_GAP_S) if rng.uniform() < settings.bouts else 0.0
    return Voice(species, gap_s)


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
    species = vary(made.species, rng, settings.individual)
    gap_s = made.gap_s * exp(settings.individual * rng.normal())
    return Voice(_lasting(species, settings), gap_s)


def _track(individual: Voice, settings: TrackSettings, rng: np.random.Generator) -> np.ndarray:
    """One track: a texture, a call, or a bout from its start until the time is over."""
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


def _lasting(species: Species, settings: TrackSettings) -> Species:
    """A texture as long as a track, whatever varying it did to its duration."""
    if species.kind != TEXTURE:
        return species
    lasting = tuple(replace(s, duration_s=settings.track_s) for s in species.syllables)
    return replace(species, syllables=lasting)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return exp(rng.uniform(log(low), log(high)))
