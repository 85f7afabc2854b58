"""Procedural sets of short clips on which recipes are ranked: what real clips ask, invented.

All are of species that no training set has (another seed) and are cut into files of their own, as
the clips of a field collection are: what a training recording is like helps nobody here.

- ``field``: clips of 5 s, one species in each, every clip another individual, place and recorder.
- ``voices``: single calls. A label is one individual of a species; the individuals of a recording
  share its place and recorder, and every species calls in six recordings. Who calls matters as
  much as what, as it does for speakers and digits.
- ``crowd``: as ``field``, but others call over it, rooms are long, and recordings have been
  clipped, kept at lower rates, and sent as MP3.
- ``other``: clips of 5 s of another generator (`preprocessing.synthetic.patches`), of which no
  training hears anything: whether an encoder knows sound, or this world's sounds.
- ``hard``: as ``other``, other kinds, wider ones, and more under their background.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr

from g5.common.atomic import atomic_path
from g5.common.progress import track
from preprocessing.synthetic import patches
from preprocessing.synthetic.procedural import write_wav
from preprocessing.synthetic.scenes import SceneSettings, make_recording

SEED = 90210  # of the species; training sets have 0
SPLIT = "test"
FIELD = {
    "test_species": 40, "recordings_per_species": 10, "species_per_recording": 1,
    "calls_per_recording": 3, "recording_s": 5.0,
}  # fmt: skip
VOICES = {
    "test_species": 30, "recordings_per_species": 6, "species_per_recording": 10,
    "calls_per_recording": 8, "recording_s": 120.0,
}  # fmt: skip
CROWD = {
    **FIELD, "seed": SEED + 1, "distractors": 5.0, "distractor_snr_db": (-15.0, 5.0),
    "reverb": 0.8, "reverb_s": (0.5, 3.0), "snr_db": (0.0, 20.0),
}  # fmt: skip
# What happened to recordings of ``crowd``: shares of them, and how.
CLIPPED, CLIPPED_DB = 0.4, (3.0, 15.0)
RESAMPLED, RATES_HZ = 0.5, (8000, 11025, 12000, 16000, 32000, 48000)
COMPRESSED = 0.5
HARD_SEED = 4242
MARGIN_S = 0.05  # before and after a call that is cut out
Clip = tuple[str, np.ndarray, str, str]  # name, samples, label, source


def make_worlds(folder: Path, training: SceneSettings) -> dict[str, Path]:
    """Make the sets that are missing under ``folder``; the CSV of each, for ``data=clips``.

    Args:
        folder: of the sets.
        training: the generator, of which the sets change what makes them sets.
    """
    made = {}
    sets = (
        ("field", field, FIELD), ("voices", voices, VOICES), ("crowd", crowd, CROWD),
        ("other", other, {"seed": SEED}), ("hard", hard, {"seed": HARD_SEED}),
    )  # fmt: skip
    for name, clips, changes in sets:
        settings = replace(training, **{"seed": SEED, **changes})
        made[name] = folder / name / "clips.csv"
        if not made[name].is_file():
            write(made[name], clips(settings), settings)
    return made


def field(settings: SceneSettings) -> Iterator[Clip]:
    """Every recording as one clip, of the species that calls in it."""
    for index, samples, events in recordings(settings, "field"):
        yield f"{index:04d}", samples, str(events["label"].iloc[0]), f"{index:04d}"


def crowd(settings: SceneSettings) -> Iterator[Clip]:
    """As `field`, and worn."""
    for name, samples, label, source in field(settings):
        rng = np.random.default_rng([settings.seed, int(name)])
        yield name, _worn(samples, settings.sr, rng), label, source


def _worn(samples: np.ndarray, sr: int, rng: np.random.Generator) -> np.ndarray:
    """What recordings go through: too loud, too few samples a second, MP3. int16 both ways."""
    x = samples.astype(np.float32) / 32768
    if rng.uniform() < CLIPPED:
        x = np.clip(x * np.float32(10 ** (rng.uniform(*CLIPPED_DB) / 20)), -1, 1)
    if rng.uniform() < RESAMPLED:
        rate_hz = int(rng.choice(RATES_HZ))
        x = soxr.resample(soxr.resample(x, sr, rate_hz), rate_hz, sr)
    if rng.uniform() < COMPRESSED:
        sent = io.BytesIO()
        soundfile.write(sent, x, sr, format="MP3", compression_level=rng.uniform(0.5, 1.0))
        x, _ = soundfile.read(io.BytesIO(sent.getvalue()), dtype="float32")
    x = np.resize(x, len(samples)) if len(x) < len(samples) else x[: len(samples)]
    return np.rint(32767 * np.clip(x, -1, 1)).astype(np.int16)


def other(settings: SceneSettings) -> Iterator[Clip]:
    """Patches of a synthesizer."""
    return _patches("other", settings, patches.PLAIN)


def hard(settings: SceneSettings) -> Iterator[Clip]:
    """Patches whose clips differ more."""
    return _patches("hard", settings, patches.WIDE)


def _patches(name: str, settings: SceneSettings, spread: patches.Spread) -> Iterator[Clip]:
    clips = patches.patch_clips(settings.seed, settings.sr, spread)
    return track(clips, total=patches.PATCHES * patches.CLIPS, label=name, unit="clips")


def voices(settings: SceneSettings) -> Iterator[Clip]:
    """Every call as a clip, labelled by species and recording."""
    for index, samples, events in recordings(settings, "voices"):
        calls = zip(events["start_s"], events["end_s"], events["label"], strict=True)
        for number, (start_s, end_s, label) in enumerate(calls):
            first = max(0, round((start_s - MARGIN_S) * settings.sr))
            last = round((end_s + MARGIN_S) * settings.sr)
            name = f"{index:04d}_{number:03d}"
            yield name, samples[first:last], f"{label}_{index:04d}", name


def recordings(
    settings: SceneSettings, label: str
) -> Iterator[tuple[int, np.ndarray, pd.DataFrame]]:
    """All recordings of the set, beside a bar."""
    count = settings.recordings(SPLIT)
    for index in track(range(count), total=count, label=label, unit="recordings"):
        yield index, *make_recording(settings, SPLIT, index)


def write(table: Path, clips: Iterator[Clip], settings: SceneSettings) -> None:
    """Write the clips beside the CSV that names them; the CSV comes last."""
    rows = []
    table.parent.mkdir(parents=True, exist_ok=True)
    for name, samples, label, source in clips:
        write_wav(table.parent / f"{name}.wav", samples, settings.sr)
        rows.append((f"{name}.wav", label, source))
    with atomic_path(table) as temporary:
        pd.DataFrame(rows, columns=["file", "label", "source"]).to_csv(temporary, index=False)
