"""What `default` finds in procedural recordings that are new to it, and which of it are calls.

Twelve species, eight recordings each with two species; the first five calls of the first recording
are the support. Kept as a Parquet table: a second call only reads it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from experiments.procedural_detection.detectors import SHOTS, shipped
from g5.common.atomic import atomic_path
from g5.common.progress import track
from g5.config.parts import corpus_of
from g5.config.settings import load
from g5.detection.corpus import detector_of
from g5.detection.detector import Detector
from g5.detection.embedding.sound import Sounds
from g5.detection.support import targets_of
from g5.evaluation.events.matching import matching
from preprocessing.events import Corpus

RECORDINGS = (
    "data.train_species=2", "data.val_species=2", "data.test_species=12",
    "data.recordings_per_species=8", "data.species_per_recording=2",
    "data.calls_per_recording=12", "data.recording_s=90", "data.snr_db=[0,20]",
)  # fmt: skip


def detected(arguments: Sequence[str]) -> pd.DataFrame:
    """Candidates of every species in its recordings.

    Returns:
        ``file, label, start_s, end_s, score, yes`` (whether it is a call) and ``place`` (0 for the
        recording that holds the support).
    """
    settings = load(["experiment=procedural_detection", *RECORDINGS, *arguments])
    kept = settings.path.root / "outputs" / "review" / "candidates.parquet"
    if not kept.is_file():
        corpus = corpus_of(settings)
        detector, sounds = detector_of(
            shipped(),
            settings.detection,
            settings.path.store,
            device=torch.device("cpu"),
            block_s=30.0,
        )
        with atomic_path(kept) as temporary:
            _candidates(detector, sounds, corpus).to_parquet(temporary, index=False)
    return pd.read_parquet(kept)


def _candidates(detector: Detector, sounds: Sounds, corpus: Corpus) -> pd.DataFrame:
    calls = corpus.split("test")
    calls = calls.loc[calls["status"] == "POS"].sort_values(["file", "start_s"])
    hashes = dict(zip(corpus.recordings["file"], corpus.recordings["sha256"], strict=True))
    parts = []
    species = list(calls.groupby("label"))
    for label, own in track(species, total=len(species), label="species", unit="species"):
        counts = own.groupby("file").size()
        files = [str(counts[counts > SHOTS].index[0])]
        files += [str(file) for file in counts.index if file != files[0]]
        shots = own.loc[own["file"] == files[0]].iloc[:SHOTS]
        (target,) = targets_of(
            shots, lambda file: sounds.open(Path(file), hashes[file]), shots=SHOTS,
            negatives="gaps", problem=print,
        )  # fmt: skip
        for place, file in enumerate(files):
            sound = sounds.open(Path(file), hashes[file])
            found = detector.candidates(sound, detector.detect(sound, target))
            true = own.loc[own["file"] == file, ["start_s", "end_s"]].to_numpy(float)
            hits = matching(true, found[["start_s", "end_s"]].to_numpy(float))
            yes = np.isin(np.arange(len(found)), hits)
            part = found[["start_s", "end_s", "score"]].assign(
                file=file, label=label, place=place, yes=yes
            )
            if place == 0:  # what is before the last shot is no news
                part = part.loc[part["start_s"] > shots["end_s"].max()]
            parts.append(part)
    return pd.concat(parts, ignore_index=True)
