"""Scenes: which invented species call in a procedural recording, when and how loud.

A recording depends on the settings, its split and its number alone, so that any of them can be
made anywhere, in any order, by any number of workers, and comes out the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from math import ceil, isfinite
from typing import Any

import numpy as np
import pandas as pd

from g5.common.errors import UserError
from preprocessing.synthetic.mixing import Call, background, mix, random_channel, reverberation
from preprocessing.synthetic.rendering import fast_length, render
from preprocessing.synthetic.species import KINDS, Species, draw, vary

SPLITS = ("train", "val", "test")
# Calls fill at most this share of a recording.
FULLEST = 0.8
# Speech over a telephone is still speech: no band limit below this.
LOWEST_TOP_HZ = 2500.0
FARTHEST_M = 300.0
# Between calls; twice the margin of `mix`, whose filters ring a little.
SHORTEST_GAP_S = 0.05
# What a random stream is for; the keys keep the streams apart.
_PLAN, _SPECIES, _RECORDING = range(3)


@dataclass(frozen=True)
class SceneSettings:
    """Everything that decides how the recordings sound; see conf/data/procedural.yaml."""

    seed: int
    sr: int
    train_species: int
    val_species: int
    test_species: int
    kinds: tuple[str, ...]
    recording_s: float
    recordings_per_species: int
    species_per_recording: int
    calls_per_recording: int
    distractors: float
    snr_db: tuple[float, float]
    distractor_snr_db: tuple[float, float]
    call_s: tuple[float, float]
    f0_hz: tuple[float, float]
    jitter: float
    individual: float
    distance: float
    reverb: float
    reverb_s: tuple[float, float]
    eq_db: float
    wind: float
    rain: float
    hum: float
    background_db: tuple[float, float]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "SceneSettings":
        """From values of any numeric and list types: 30 and 30.0 are one setting, one hash.

        Raises:
            UserError: a value has the wrong type.
        """
        plain = {}
        for field in fields(cls):
            value = given[field.name]
            try:
                if field.type in (int, float):
                    plain[field.name] = field.type(value)
                    if plain[field.name] != value:
                        raise ValueError
                else:
                    element = str if field.name == "kinds" else float
                    plain[field.name] = tuple(element(item) for item in value)
            except (TypeError, ValueError):
                kind = getattr(field.type, "__name__", "list")
                raise UserError(f"data.{field.name}: {value!r} is no {kind}") from None
        return cls(**plain)

    def species(self, split: str) -> int:
        return {"train": self.train_species, "val": self.val_species}.get(split, self.test_species)

    def groups(self, split: str) -> int:
        """Recordings in which every species of the split calls once."""
        return ceil(self.species(split) / self.species_per_recording)

    def recordings(self, split: str) -> int:
        return self.groups(split) * self.recordings_per_species

    def stream(self, split: str, purpose: int, number: int) -> np.random.Generator:
        key = [self.seed, SPLITS.index(split), purpose, number]
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))


def check(settings: SceneSettings) -> None:
    """Raise `UserError` naming the key of the first impossible value."""
    s = settings
    whole = ("train_species", "val_species", "test_species", "recordings_per_species")
    for key in (*whole, "species_per_recording", "calls_per_recording"):
        if getattr(s, key) < 1:
            raise UserError(f"data.{key}: {getattr(s, key)} is less than 1")
    for key in ("distance", "reverb", "wind", "rain", "hum"):
        if not 0 <= getattr(s, key) <= 1:
            raise UserError(f"data.{key}: {getattr(s, key)} is no share between 0 and 1")
    for key in ("seed", "distractors", "jitter", "individual", "eq_db"):
        if not 0 <= getattr(s, key) < float("inf"):
            raise UserError(f"data.{key}: {getattr(s, key)} must be a number from 0 up")
    for key in ("snr_db", "distractor_snr_db", "call_s", "f0_hz", "reverb_s", "background_db"):
        pair = getattr(s, key)
        if len(pair) != 2 or not all(map(isfinite, pair)) or pair[0] > pair[1]:
            raise UserError(f"data.{key}: {list(pair)} must be two numbers, the lower first")
        if key in ("call_s", "f0_hz", "reverb_s") and pair[0] <= 0:
            raise UserError(f"data.{key}: {pair[0]} is not above 0")
    if not 1000 <= s.sr <= 384000:
        raise UserError(f"data.sr: {s.sr} Hz is not between 1000 and 384000 Hz")
    if s.f0_hz[1] >= s.sr / 2:
        raise UserError(
            f"data.f0_hz: {s.f0_hz[1]:g} Hz is not below the Nyquist frequency, "
            f"{s.sr / 2:g} Hz; lower it or raise data.sr"
        )
    if s.background_db[1] > 0:
        raise UserError(f"data.background_db: {s.background_db[1]:g} is over full scale (0 dB)")
    if wrong := [kind for kind in s.kinds if kind not in KINDS] or not s.kinds:
        raise UserError(f"data.kinds: {wrong} is no list of families; choose from {list(KINDS)}")
    room_s = FULLEST * s.recording_s / s.species_per_recording
    if not s.call_s[0] <= room_s or not s.call_s[1] <= FULLEST * s.recording_s:
        raise UserError(
            f"data.recording_s: {s.recording_s:g} s are too short for "
            f"{s.species_per_recording} species with calls of {list(s.call_s)} s"
        )


# --- one recording ------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _species(settings: SceneSettings, split: str) -> tuple[Species, ...]:
    return tuple(
        draw(
            settings.stream(split, _SPECIES, i),
            kinds=settings.kinds,
            f0_hz=settings.f0_hz,
            call_s=settings.call_s,
        )
        for i in range(settings.species(split))
    )


@lru_cache(maxsize=8)
def _octaves(settings: SceneSettings, split: str) -> np.ndarray:
    return np.log2([species.pitch_hz for species in _species(settings, split)])


def species_name(settings: SceneSettings, split: str, number: int) -> str:
    """A label no other split has: family, split and number."""
    return f"{_species(settings, split)[number].kind}_{split}_{number:04d}"


def members(settings: SceneSettings, split: str, index: int) -> list[int]:
    """Numbers of the species that call in recording ``index`` of the split.

    Every ``groups`` recordings are a round in which each species calls in one of them. In some
    rounds neighbours in pitch are put together, in others strangers.
    """
    groups = settings.groups(split)
    rng = settings.stream(split, _PLAN, index // groups)
    octave = _octaves(settings, split)
    order = np.argsort(octave + rng.normal(0, 10 ** rng.uniform(-1, 1), len(octave)))
    return [int(number) for number in np.array_split(order, groups)[index % groups]]


def make_recording(
    settings: SceneSettings, split: str, index: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """Recording ``index`` of a split: (samples,) int16 and its events `start_s, end_s, label`.

    Events are sorted and do not overlap; distractors are not among them.
    """
    rng = settings.stream(split, _RECORDING, index)
    sr, n = settings.sr, round(settings.recording_s * settings.sr)
    choirs = [_choir(settings, split, number, rng) for number in members(settings, split, index)]
    calls = _place(settings, choirs, rng) + _distractors(settings, rng)
    top_hz = max(_top_hz(choir[0].samples, sr) for choir in choirs)
    channel = random_channel(rng, eq_db=settings.eq_db, lowest_top_hz=top_hz, sr=sr)
    place = background(
        rng,
        n,
        sr=sr,
        channel=channel,
        level_db=rng.uniform(*settings.background_db),
        wind=settings.wind,
        rain=settings.rain,
        hum=settings.hum,
    )
    rt60_s = float(np.exp(rng.uniform(*np.log(settings.reverb_s))))
    room = reverberation(rng, rt60_s=rt60_s, sr=sr)
    mixture, events = mix(calls, place, sr=sr, channel=channel, room=room)
    # The recordist turns the gain down for the loudest call.
    mixture *= np.float32(32767 * min(1.0, 0.97 / np.abs(mixture).max()))
    return np.rint(mixture, out=mixture).astype(np.int16), events


def _choir(
    settings: SceneSettings, split: str, number: int, rng: np.random.Generator
) -> list[Call]:
    """The calls of one individual in one recording, not yet placed."""
    individual = vary(_species(settings, split)[number], rng, settings.individual)
    label = species_name(settings, split, number)
    # Few more or less: every class keeps enough calls for an episode.
    spread = settings.calls_per_recording // 4
    count = settings.calls_per_recording + int(rng.integers(-spread, spread + 1))
    return _sing(settings, individual, rng, count, label, settings.snr_db)


def _sing(
    settings: SceneSettings,
    individual: Species,
    rng: np.random.Generator,
    count: int,
    label: str | None,
    snr_db: tuple[float, float],
) -> list[Call]:
    """``count`` calls of an individual that sits at one place."""
    # It stays within a window of the range: an animal does not jump from near to far.
    width = min(12.0, snr_db[1] - snr_db[0])
    nearest = rng.uniform(snr_db[0] + width, snr_db[1]) if width else snr_db[1]
    far = label is None or rng.uniform() < settings.distance
    reference_m = np.exp(rng.uniform(*np.log([1.0, 5.0])))
    loudest_db = max(settings.snr_db[1], snr_db[1])
    wet_db = rng.uniform(-20, 0) if rng.uniform() < settings.reverb else -np.inf
    calls = []
    for _ in range(count):
        level_db = rng.uniform(nearest - width, nearest)
        metres = min(FARTHEST_M, reference_m * 10 ** ((loudest_db - level_db) / 20))
        samples = render(vary(individual, rng, settings.jitter), rng, sr=settings.sr)
        calls.append(Call(samples, 0.0, label, level_db, metres if far else 0.0, wet_db))
    return calls


def _place(
    settings: SceneSettings, choirs: list[list[Call]], rng: np.random.Generator
) -> list[Call]:
    """Give every call its time: no two overlap, species call in bouts or in turns."""
    room = round(FULLEST * settings.recording_s * settings.sr)
    choirs = [list(choir) for choir in choirs]
    while sum(len(c.samples) for choir in choirs for c in choir) > room:
        longest = max(
            choirs, key=lambda choir: (len(choir) > 1, sum(len(c.samples) for c in choir))
        )
        if len(longest) > 1:
            longest.pop()
            continue
        # One call of each is left, and still too much: each gets its share of the time.
        choirs = [[_cut(c, room // len(choirs)) for c in choir] for choir in choirs]
    bout = rng.uniform(0, 2)
    ranks = rng.permutation(len(choirs)) * bout
    keyed = [
        (ranks[i] + rng.uniform(0, len(choirs)), call)
        for i, choir in enumerate(choirs)
        for call in choir
    ]
    calls = [call for _, call in sorted(keyed, key=lambda pair: pair[0])]
    lengths_s = np.array([len(call.samples) / settings.sr for call in calls])
    free_s = settings.recording_s - lengths_s.sum()
    even_s = min(SHORTEST_GAP_S, free_s / (len(calls) + 1))
    gaps_s = (free_s - even_s * (len(calls) + 1)) * rng.dirichlet(np.full(len(calls) + 1, 1.5))
    gaps_s += even_s
    starts_s = np.cumsum(gaps_s[:-1]) + np.concatenate([[0.0], np.cumsum(lengths_s[:-1])])
    return [replace(call, start_s=float(t)) for call, t in zip(calls, starts_s, strict=True)]


def _cut(call: Call, longest: int) -> Call:
    samples = call.samples[:longest].copy()
    fade = min(len(samples), 256)
    samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return replace(call, samples=samples)


def _distractors(settings: SceneSettings, rng: np.random.Generator) -> list[Call]:
    """Distant calls nobody annotated, of species invented for this recording alone.

    They come from the recording's own stream, so that none is ever an annotated species here
    or in another split.
    """
    calls: list[Call] = []
    wanted = rng.poisson(settings.distractors)
    while len(calls) < wanted:
        stranger = draw(rng, kinds=settings.kinds, f0_hz=settings.f0_hz, call_s=settings.call_s)
        count = min(int(rng.integers(1, 4)), wanted - len(calls))
        for call in _sing(settings, stranger, rng, count, None, settings.distractor_snr_db):
            latest_s = max(0.0, settings.recording_s - len(call.samples) / settings.sr)
            calls.append(replace(call, start_s=rng.uniform(0, latest_s)))
    return calls


def _top_hz(samples: np.ndarray, sr: int) -> float:
    """A band up to here keeps three quarters of a call's energy."""
    m = fast_length(len(samples))
    energy_F = np.cumsum(np.abs(np.fft.rfft(samples, m)) ** 2)
    quartile = np.searchsorted(energy_F, 0.75 * energy_F[-1])
    return max(LOWEST_TOP_HZ, 1.1 * quartile / m * sr)
