"""How well an embedding predicts what is measured by hand: a linear probe of each measure.

Source: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016.

Shapes: N windows, D embedding width, K measures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from g5.common.errors import UserError
from g5.common.progress import track
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.vectors import VectorStore
from preprocessing import audio

# More say no more about a linear probe.
MOST_WINDOWS = 2000
FOLDS = 5


@dataclass(frozen=True)
class ProbedMeasure:
    """A measure and how much of its variance the embedding predicts in other recordings (R2)."""

    measure: str
    r2: float


def print_probe(path: Path, overrides: Sequence[str]) -> None:
    """Print how well a store's embeddings predict each acoustic measure.

    ``overrides`` are of the measures: ``encoder.key=value`` of `conf/encoder/handcrafted.yaml`.
    """
    found = probe(VectorStore.open(path), load_encoder("handcrafted", overrides))
    print(
        f"R2 of a linear probe on {path}, in recordings it was not fitted on (1 perfect, 0 blind)"
    )
    width = max(len(one.measure) for one in found)
    for one in found:
        print(f"{one.measure:<{width}}  {one.r2:6.2f}  {'#' * round(20 * max(one.r2, 0))}")


def probe(store: VectorStore, handcrafted: LoadedEncoder, seed: int = 0) -> list[ProbedMeasure]:
    """Ridge regression from embeddings to each measure, cross-validated by recording.

    Args:
        store: embeddings whose recordings can be found.
        handcrafted: measures the windows' sound.
        seed: of the choice where the store holds more windows than are needed.

    Raises:
        UserError: fewer than two recordings, or sound that is not found.
    """
    index = store.index
    rng = np.random.default_rng(seed)
    rows = np.arange(len(index))
    if len(rows) > MOST_WINDOWS:
        rows = np.sort(rng.choice(rows, MOST_WINDOWS, replace=False))
    chosen = index.iloc[rows]
    groups = chosen["file"].astype(str).to_numpy()
    n_folds = min(FOLDS, len(np.unique(groups)))
    if n_folds < 2:
        raise UserError(f"{store.path}: a probe needs the windows of two recordings or more")
    y_NK = _measures(store, handcrafted, chosen)
    x_ND = store.vectors[rows].astype(np.float64)
    names: list[str] = handcrafted.module.names  # type: ignore[assignment]
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 7)))
    found = []
    measures = zip(names, y_NK.T, strict=True)
    for name, y_N in track(measures, total=len(names), label="probing", unit="measures"):
        if np.ptp(y_N) < 1e-9:
            continue
        predicted_N = cross_val_predict(model, x_ND, y_N, groups=groups, cv=GroupKFold(n_folds))
        found.append(ProbedMeasure(name, float(r2_score(y_N, predicted_N))))
    return found


@torch.no_grad()
def _measures(store: VectorStore, encoder: LoadedEncoder, rows: pd.DataFrame) -> np.ndarray:
    out = []
    files = rows["file"].astype(str).tolist()
    times = zip(rows["start_s"].tolist(), rows["end_s"].tolist(), strict=True)
    entries = zip(files, times, strict=True)
    for file, (start_s, end_s) in track(
        entries, total=len(rows), label="measuring", unit="windows"
    ):
        stop = None if np.isnan(end_s) else end_s
        samples = audio.read(
            store.audio_path(file), store.rules, start_s=start_s, end_s=stop, rate_hz=encoder.sr
        )
        out.append(encoder.module(torch.from_numpy(samples)[None])[0].numpy())
    return np.stack(out).astype(np.float64)
