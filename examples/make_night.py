"""The night of the first hour: two minutes of invented species, five marked calls, and the truth.

    python examples/make_night.py [FOLDER]

writes beside this file, or in FOLDER:

- `night.ogg`, and Raven tables of one species: `five_calls.txt`, and all its calls, `truth.txt`;
- `others.txt`: the calls of the two other species in it, which are not to be found;
- `night.png`: what `g5 detect` finds by the five calls, beside the truth; `g5 evaluate` scores it.

Nothing is chosen by ear or by score. The settings are those of `conf/data/procedural.yaml` but for
the ones below; the recording is the first of its split, and the species to be found is the one that
calls most in it. The encoder that comes with g5 learned from other species (another seed).
"""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import soundfile
from PIL import Image

from g5.config.parts import scene_settings
from preprocessing.annotations import write_events
from preprocessing.synthetic.scenes import make_recording

NIGHT = {
    "seed": 18, "test_species": 30, "recording_s": 120.0, "species_per_recording": 3,
    "calls_per_recording": 20, "snr_db": (0.0, 30.0), "distractors": 10.0,
}  # fmt: skip
SHOTS = 5
COLOURS = 128


def make_night(folder: Path) -> None:
    """Write the recording and its tables."""
    settings = replace(scene_settings(), **NIGHT)
    samples, events = make_recording(settings, "test", 0)
    folder.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(
        folder / "night.ogg", "w", settings.sr, 1, format="OGG", subtype="VORBIS"
    ) as night:
        # Second by second: libsndfile's Vorbis overflows the stack with minutes at once.
        for start in range(0, len(samples), settings.sr):
            night.write(samples[start : start + settings.sr])
    events = events.assign(file="night.ogg", status="POS")
    is_target = events["label"] == events["label"].value_counts().index[0]
    calls, others = events[is_target], events[~is_target]
    tables = {"five_calls": calls[:SHOTS], "truth": calls, "others": others}
    for name, rows in tables.items():
        write_events(rows, folder / f"{name}.txt", "raven")


def draw_night(folder: Path) -> None:
    """Find the calls, print the score and keep the picture."""
    night, shots, truth = (folder / name for name in ("night.ogg", "five_calls.txt", "truth.txt"))
    with tempfile.TemporaryDirectory() as found:
        g5 = (sys.executable, "-m", "g5.cli.main")
        detect = ("detect", "default", night, "--support", shots, "--truth", truth, "-o", found)
        subprocess.run([*g5, *detect], check=True)
        subprocess.run([*g5, "evaluate", f"{found}/predictions.csv", truth], check=True)
        (picture,) = Path(found, "pictures").glob("*.png")
        with Image.open(picture) as drawn:
            drawn.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE).save(
                folder / "night.png", optimize=True
            )


if __name__ == "__main__":
    home = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    make_night(home)
    draw_night(home)
