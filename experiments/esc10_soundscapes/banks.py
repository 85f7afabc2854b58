"""Where soundscapes' clips come from: ESC-10, or invented species for what is to be chosen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.esc10_soundscapes.soundscapes import SR, Background, Bank, Clip, background_of
from g5.common.progress import track
from g5.config.settings import load
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL
from preprocessing.synthetic.mixing import Call, background, mix, random_channel
from preprocessing.synthetic.patches import Patch, draw_patch, play
from preprocessing.synthetic.scenes import SceneSettings, make_recording, members, species_name

EVENTS = ("dog_bark", "rooster", "person_sneeze", "baby_cry")
BACKGROUNDS = ("rain", "sea_waves", "fire_crackling", "helicopter")
SEED = 31337  # of the invented species; training sets have 0
PLACES, PLACES_SEED = 40, 77  # of a background that changes
SPECIES = 20
TOGETHER = 4  # as many as ESC-10 has
CLIPS = 16  # of a species
SPLIT = "val"
# Clips like those of a field collection: 5 s, another individual, place and recorder each.
CLIP = {
    "val_species": SPECIES, "recordings_per_species": CLIPS, "species_per_recording": 1,
    "recording_s": 5.0, "snr_db": [20.0, 40.0], "distractors": 0.0, "wind": 0.0, "rain": 0.0,
}  # fmt: skip
PATCHES_SEED = 4711
PATCH_EQ_DB = 5.0
LONGEST_GAP_S = 0.3  # a longer pause ends a call
CALLS_PER_CLIP = (1, 3)  # species call once in a clip, or several times


def esc10(home: Path) -> Bank:
    """ESC-10's four kinds of events over four kinds of background.

    Args:
        home: holds ``esc10/clips.csv`` (``file, label, source``) and its recordings.
    """
    table = pd.read_csv(home / "esc10" / "clips.csv", dtype={"source": "str"})
    table = table.loc[table["label"].isin([*EVENTS, *BACKGROUNDS])]
    clips: dict[str, list[Clip]] = {}
    for row in track(table.to_dict("records"), total=len(table), label="ESC-10", unit="clips"):
        samples = audio.read(home / "esc10" / row["file"], READ_ALL, rate_hz=SR)
        clips.setdefault(row["label"], []).append(Clip(samples, row["source"]))
    events = {label: clips[label] for label in EVENTS}
    return Bank([events], {label: background_of(clips[label]) for label in BACKGROUNDS}, repeats=1)


def invented(seed: int = SEED) -> Bank:
    """Species that no training set has, each clip another individual; a background of its own."""
    base = _base(seed)
    of_species: dict[str, list[Clip]] = {}
    count = base.recordings(SPLIT)
    for index in track(range(count), total=count, label="invented clips", unit="clips"):
        number = _species_of(base, index)
        calls = CALLS_PER_CLIP[number % len(CALLS_PER_CLIP)]
        samples, events = make_recording(replace(base, calls_per_recording=calls), SPLIT, index)
        # Their noise may be louder than what `sounding` takes for silence.
        first_s, last_s = events["start_s"].to_numpy()[0], events["end_s"].to_numpy().max()
        samples = samples[int(first_s * SR) : int(last_s * SR) + 1]
        label = species_name(base, SPLIT, number)
        clip = Clip(samples.astype(np.float32) / 32768, f"{index:04d}")
        of_species.setdefault(label, []).append(clip)
    labels = sorted(of_species, key=lambda label: label.rsplit("_", 1)[-1])
    groups = [
        {label: of_species[label] for label in labels[first : first + TOGETHER]}
        for first in range(0, SPECIES, TOGETHER)
    ]
    return Bank(groups, {"place": _place(base)}, repeats=1)


def changing() -> Bank:
    """As `invented`, over a background that is another place every five seconds, as ESC-10's."""
    return replace(invented(), backgrounds={"changing": _places(SEED, PLACES_SEED)})


def more() -> Bank:
    """Three soundscapes of each species over a background that changes."""
    return replace(changing(), repeats=3)


def patches(seed: int = PATCHES_SEED) -> Bank:
    """Kinds of another generator, as wide as real ones may be, over a background that changes."""
    rng = np.random.default_rng(seed)
    groups: list[dict[str, list[Clip]]] = []
    while len(groups) * TOGETHER < SPECIES:
        drawn = [_short_patch(rng) for _ in range(TOGETHER)]
        first = len(groups) * TOGETHER
        groups.append({f"patch_{first + i:02d}": _played(p, rng) for i, p in enumerate(drawn)})
    return Bank(groups, {"changing": _places(SEED, PLACES_SEED)}, repeats=1)


def either(seed: int) -> Background:
    """A place of its own, or a background that changes."""
    place, places = _place(_base(seed)), _places(seed, seed)
    return lambda rng, n: (place if rng.uniform() < 0.5 else places)(rng, n)


# What is chosen by; names of folders.
BANKS = {"invented": invented, "changing": changing, "changing3": more, "patches": patches}


def _short_patch(rng: np.random.Generator) -> Patch:
    while True:
        patch = draw_patch(rng)
        if patch.rhythm == "once" or (patch.rhythm == "phrase" and patch.every_s < LONGEST_GAP_S):
            return patch


def _played(patch: Patch, rng: np.random.Generator) -> list[Clip]:
    """Clips of a patch, each another sound of it through another recorder."""
    clips = []
    for number in range(CLIPS):
        channel = random_channel(rng, eq_db=PATCH_EQ_DB, lowest_top_hz=3000.0, sr=SR)
        sound = play(patch, rng, SR)
        silence = np.zeros(len(sound) + SR // 10, np.float32)
        call = Call(sound, 0.05, "patch", 0.0, 0.0, -np.inf)
        room = np.zeros(0, np.float32)
        samples, _ = mix([call], silence, sr=SR, channel=channel, room=room)
        clips.append(Clip(samples / np.abs(samples).max(), str(number)))
    return clips


def _base(seed: int) -> SceneSettings:
    base = SceneSettings.of({**load(["data=procedural"]).data.values, **CLIP})
    return replace(base, seed=seed, sr=SR)


def _species_of(settings: SceneSettings, index: int) -> int:
    (number,) = members(settings, SPLIT, index)
    return number


def _places(seed: int, places_seed: int) -> Background:
    """Another place every five seconds."""
    place, rng = _place(_base(seed)), np.random.default_rng(places_seed)
    clips = [Clip(place(rng, 5 * SR).astype(np.float32), str(i)) for i in range(PLACES)]
    return background_of(clips)


def _place(settings: SceneSettings) -> Background:
    """Another place each time, with the default generator's wind and rain."""
    usual = load(["data=procedural"]).data.values

    def place(rng: np.random.Generator, n: int) -> np.ndarray:
        channel = random_channel(rng, eq_db=settings.eq_db, lowest_top_hz=8000.0, sr=SR)
        return background(
            rng, n, sr=SR, channel=channel, level_db=-26.0,
            wind=usual["wind"], rain=usual["rain"], hum=usual["hum"],
        )  # fmt: skip

    return place
