"""A season to be heard: procedural minutes with its calls, five shots, and how well it is found."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from experiments.season.made import CHANGE, ZONE, MadeSeason, season
from experiments.season.told import compared, summary_of
from g5.common.atomic import write_text
from g5.detection.job.request import DetectionRequest, detection_settings
from g5.detection.job.run import detect
from g5.evaluation.events.ground_truth import PREDICTIONS, Truth
from g5.evaluation.events.scores import score_events
from preprocessing.recorders.starts import Clues
from preprocessing.synthetic.mixing import Call, background, flat, mix, reverberation
from preprocessing.synthetic.rendering import render
from preprocessing.synthetic.species import KINDS, Species, draw, vary

RATE_HZ, SHOTS = 22050, 5
PITCH_HZ, CALL_S = (800.0, 6000.0), (0.2, 1.0)
SNR_DB, STRANGER_SNR_DB = (5.0, 25.0), (-10.0, 10.0)
STRANGERS = 2.0  # unmarked calls of other species in a minute
INDIVIDUAL, JITTER = 0.25, 0.15
LEVEL_DB, RT60_S = -40.0, 0.3


def minute(
    species: Species, count: int, rng: np.random.Generator, seconds: float
) -> tuple[np.ndarray, pd.DataFrame]:
    """``count`` calls of one individual among strangers: samples, and ``start_s, end_s, label``."""
    me, calls = vary(species, rng, INDIVIDUAL), []
    for slot in rng.permutation(int(seconds // 3))[:count]:
        samples = render(vary(me, rng, JITTER), rng, sr=RATE_HZ)[: 2 * RATE_HZ]
        calls.append(Call(samples, 3.0 * slot + 0.9 * rng.random(), "call", rng.uniform(*SNR_DB),
                          0.0, -10.0))  # fmt: skip
    for _ in range(rng.poisson(STRANGERS)):
        other = draw(rng, kinds=KINDS, f0_hz=PITCH_HZ, call_s=CALL_S)
        samples = render(other, rng, sr=RATE_HZ)[: 2 * RATE_HZ]
        start_s = rng.uniform(0, seconds - 2)
        calls.append(Call(samples, start_s, None, rng.uniform(*STRANGER_SNR_DB), 0.0, -10.0))
    place = background(
        rng, round(seconds * RATE_HZ), sr=RATE_HZ, channel=flat(RATE_HZ), level_db=LEVEL_DB,
        wind=0.3, rain=0.1, hum=0.1,
    )  # fmt: skip
    room = reverberation(rng, rt60_s=RT60_S, sr=RATE_HZ)
    return mix(calls, place, sr=RATE_HZ, channel=flat(RATE_HZ), room=room)


def write_sound(made: MadeSeason, folder: Path, *, seed: int) -> tuple[Path, Truth]:
    """The recordings of a season below a folder; a table of shots, and all other calls.

    The shots are the first calls of one recording with enough of them. What has been written whole
    is not written again.
    """
    shots, others = folder / "shots.csv", folder / "others.csv"
    names = dict.fromkeys((Path(file).stem for file in made.recordings["file"]), "season")
    if others.exists():
        return shots, Truth(pd.read_csv(others, keep_default_na=False), names, {})
    rng = np.random.default_rng([seed, 1])
    species = draw(rng, kinds=KINDS, f0_hz=PITCH_HZ, call_s=CALL_S)
    tables = []
    for row in made.recordings.to_dict("records"):
        samples, events = minute(species, int(row["calls"]), rng, row["duration_s"])
        path = folder / row["recorder"] / Path(row["file"]).with_suffix(".flac").name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples /= max(1.0, float(np.abs(samples).max()))
        soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
        tables.append(events.assign(file=str(path), name=path.stem, status="POS"))
    which = next(i for i, events in enumerate(tables) if len(events) >= SHOTS)
    tables[which][:SHOTS].to_csv(shots, index=False)
    tables[which] = tables[which][SHOTS:]
    calls = pd.concat(tables, ignore_index=True)
    write_text(others, calls.to_csv(index=False))
    return shots, Truth(calls, names, {})


def fmeasure(predictions: Path, truth: Truth) -> float:
    """F of what was found, the shots aside."""
    found = pd.read_csv(predictions, keep_default_na=False)
    found = found.loc[~found["support"]].assign(
        name=found["file"].map(lambda file: Path(file).stem)
    )
    return score_events(found, truth, mode="fair", n_shots=0).overall.fmeasure


def four_days(species: int) -> MadeSeason:
    """Two recorders around the change."""
    return season(2, 4, 60, faults=False, seed=species, first=CHANGE - timedelta(days=2))


def heard(species: int, made: MadeSeason, folder: Path) -> pd.DataFrame:
    """A season searched by five calls, and ``F`` beside; goes on with what the folder has."""
    shots, truth = write_sound(made, folder / "recordings", seed=species)
    found = folder / "found"
    sites = made.write_sites(folder / "sites.csv")
    clues = Clues(zone=ZONE, clock="UTC", deployments=sites)
    request = DetectionRequest("default", folder / "recordings", shots, found, clues=clues)
    plain = ["detection.pictures=false", f"path.root_dir={folder}"]
    detect(request, detection_settings(plain))
    sites.replace(found / sites.name)
    out = summary_of(made, found, folder / "summary")
    return compared(made, out).assign(species=species, F=fmeasure(found / PREDICTIONS, truth))
