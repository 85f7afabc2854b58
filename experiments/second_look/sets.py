"""What a second look is learnt of: recordings of three kinds, unlike in all that may vary."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.esc10_soundscapes.banks import either, invented, patches
from experiments.esc10_soundscapes.soundscapes import Mix, corpus, make
from g5.config.parts import corpus_of
from g5.config.settings import load
from preprocessing.events import Corpus

# Of species and places, and how many calls are marked; what is validated on has other seeds.
SHOTS_OF = {501: 5, 502: 3}
# Recordings of one place and recorder, as `data=procedural` makes them, by seed.
RECORDINGS = {
    501: ("data.species_per_recording=2", "data.calls_per_recording=20", "data.snr_db=[0,20]"),
    502: ("data.species_per_recording=3", "data.calls_per_recording=12", "data.snr_db=[0,30]"),
}
CALLS, OTHERS = (12, 16), (4, 32)
QUIETEST_DB, RANGE_DB, CALLING = (-3.0, 5.0), (10.0, 25.0), (0.2, 0.6)


def mixed(rng: np.random.Generator) -> Mix:
    """Another mixture each time."""
    quietest_db = rng.uniform(*QUIETEST_DB)
    return Mix(
        calls=int(rng.integers(*CALLS, endpoint=True)),
        others=int(rng.integers(*OTHERS, endpoint=True)),
        snr_db=(quietest_db, quietest_db + rng.uniform(*RANGE_DB)),
        calling=float(np.exp(rng.uniform(*np.log(CALLING)))),
    )


def corpora(folder: Path, store: Path) -> Iterator[tuple[str, int, Corpus]]:
    """The generator, how many calls are marked, and the recordings, made where they are not yet."""
    for seed, shots in SHOTS_OF.items():
        for bank in (invented, patches):

            def varied(bank=bank, seed=seed):
                return replace(bank(seed), backgrounds={"either": either(seed)}, mix=mixed)

            table = make(folder / f"{bank.__name__}_{seed}", varied, seed=seed)
            table = table.loc[table["label"] == table["target"]]
            yield bank.__name__, shots, corpus({"val": table}, store)
        yield "recordings", shots, _recordings(seed)


def _recordings(seed: int) -> Corpus:
    fixed = (
        "data=procedural", f"data.seed={seed}", "data.train_species=2", "data.test_species=2",
        "data.val_species=24", "data.recordings_per_species=1", "data.recording_s=120",
    )  # fmt: skip
    return corpus_of(load([*fixed, *RECORDINGS[seed]]))
