"""The same classifiers under random, grouped and given splits of ESC-10 and FSDD.

    python -m experiments.evaluation path.real_dir=DIR [esc10|fsdd] [CKPT] [key=value ...]

See README.md beside this file for what DIR holds and which checkpoint. Prints a table a set.

Shapes: R clips, F features.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from archs.protonet import ProtoNet
from experiments.common import hardware, markdown, percent_ends_cell, real_dir, run_as_command
from g5.common.progress import track
from g5.common.seeds import seed_all
from g5.config.build import build
from g5.config.parts import corpus_of, feature_set_of, front_end_of
from g5.config.settings import Settings, load
from g5.config.stored import overridden
from g5.evaluation.episodes.raw_features import raw_features
from g5.evaluation.episodes.scoring import embed_plan
from g5.evaluation.intervals import Interval, points_text, resampled_interval
from g5.tracking.folders import find
from g5.tracking.restore import Restored, restore
from preprocessing.datasets.splits import fold_numbers
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan
from preprocessing.normalize import Normalize

SEEDS = 3  # repetitions of the drawn splits
RESAMPLES = 2000
CLASSIFIERS = ("logistic regression", "prototypes")


@dataclass(frozen=True)
class RecognitionTask:
    """What is recognised in a set, and what a careful split keeps apart."""

    name: str
    target: str
    group: str
    folds: int
    given: str | None = None


@dataclass(frozen=True)
class LabelledSet:
    """A set of real clips and its tasks."""

    name: str
    table: str
    clip_s: float
    tasks: tuple[RecognitionTask, ...]


SETS = {
    "esc10": LabelledSet(
        "ESC-10", "esc10/clips.csv", 5.0,
        (RecognitionTask("which sound", "label", "source", 5, "fold"),),
    ),
    "fsdd": LabelledSet(
        "FSDD", "fsdd/clips.csv", 0.5,
        (RecognitionTask("which digit", "digit", "speaker", 6),
         RecognitionTask("who speaks", "speaker", "digit", 5)),
    ),
}  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Evaluate and print."""
    names = [word for word in arguments if word in SETS] or list(SETS)
    trained = [restore(find(word)[0]) for word in arguments if word.endswith(".ckpt")]
    overrides = [word for word in arguments if word not in SETS and not word.endswith(".ckpt")]
    settings = load(["experiment=v2_vs_v1", "arch=v1", *overrides])
    root = real_dir(settings)
    tables = {SETS[name].name: evaluated(SETS[name], root, trained, overrides) for name in names}
    for name, table in tables.items():
        words = shown(table)
        rows = words.itertuples(index=False, name=None)
        print(f"\n{name}\n\n{markdown(list(words), rows, text_columns=len(words.columns))}")
    print(f"\n{hardware()}")


def evaluated(
    real_set: LabelledSet, root: Path, trained: Sequence[Restored], overrides: Sequence[str]
) -> pd.DataFrame:
    """Every task, kind of features and classifier of a set, one row each."""
    clips, features = clips_and_features(real_set, root, trained, overrides)
    rows = []
    for task in real_set.tasks:
        for kind, x_RF in features.items():
            for classifier in CLASSIFIERS:
                rows.append(row_of(task, clips, kind, x_RF, classifier))
    return pd.DataFrame(rows)


def clips_and_features(
    real_set: LabelledSet, root: Path, trained: Sequence[Restored], overrides: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The set's clips with all columns of its list, and their features."""
    of_clips = ["data=clips", "data.split=test", f"features.clip_s={real_set.clip_s}", *overrides]
    place = {"data.root": str(root / real_set.table)}
    plain = load(["experiment=v2_vs_v1", "arch=v1", *of_clips]).but(place)
    corpus = corpus_of(plain)
    corpus.raise_if_fatal()
    events = corpus.split("test")
    listed = pd.read_csv(root / real_set.table, dtype=str)
    home = (root / real_set.table).parent
    listed["file"] = [os.path.abspath(home / name) for name in listed["file"]]
    clips = events[["file"]].merge(listed, on="file", how="left", validate="many_to_one")
    reader = feature_set_of(plain, corpus, front_end_of(plain)).reader("test")
    kinds = {"raw": raw_of(reader), "untrained v1": untrained_embeddings(plain, reader)}
    for restored in trained:
        settings = overridden(restored.config, of_clips, place)
        own = feature_set_of(settings, corpus, restored.front_end).reader("test")
        z_RF = embed_clips(restored.model, restored.normalize, own)
        kinds[f"trained {settings.arch.name}"] = z_RF
    return clips, kinds


def plan_of(reader: ClipReader) -> ClipPlan:
    rows = torch.arange(len(reader))
    return ClipPlan(rows, torch.full_like(rows, reader.n_frames), [])


def raw_of(reader: ClipReader) -> np.ndarray:
    """Mean and standard deviation over time of the log-mel bands, (R, F)."""
    return raw_features(plan_of(reader), reader, batch_size=256)[0].numpy()


def untrained_embeddings(settings: Settings, reader: ClipReader) -> np.ndarray:
    """Embeddings of v1 as it is before training, (R, F)."""
    seed_all(settings.seed, deterministic=False)
    model = build(settings.arch.model, expect=ProtoNet, where="arch.model")
    return embed_clips(model, Normalize(mode="sample", n_mels=reader.n_mels), reader)


def embed_clips(model: ProtoNet, normalize: Normalize, reader: ClipReader) -> np.ndarray:
    """(R, F)."""
    plan, device = plan_of(reader), torch.device("cpu")
    return embed_plan(model, normalize, plan, reader, batch_size=64, device=device).numpy()


# --- one row ------------------------------------------------------------------------------------


def row_of(
    task: RecognitionTask, clips: pd.DataFrame, kind: str, x_RF: np.ndarray, classifier: str
) -> dict[str, Any]:
    """Accuracies under the splits, and by how much the random one flatters."""
    target_R, group_R = clips[task.target].to_numpy(str), clips[task.group].to_numpy(str)
    group_code_R = pd.factorize(group_R)[0]
    drawn = {"random": None, "grouped": group_code_R}
    hits: dict[str, np.ndarray] = {}
    label = f"{task.name}, {kind}, {classifier}"
    for name, groups in drawn.items():
        folds_S = [
            fold_numbers(target_R, groups, task.folds, stratify=True, seed=seed)
            for seed in range(SEEDS)
        ]
        tracked = track(folds_S, total=SEEDS, label=f"{label}, {name}", unit="repetitions")
        hits[name] = np.mean([cross_validated(x_RF, target_R, f, classifier) for f in tracked], 0)
    if task.given:
        hits["given"] = cross_validated(x_RF, target_R, clips[task.given].to_numpy(str), classifier)

    def interval(values_R: np.ndarray, bounds: tuple[float, float]) -> Interval:
        return resampled_interval(
            values_R, target_R, group_R, seed=0, resamples=RESAMPLES, bounds=bounds
        )

    row: dict[str, Any] = {
        "task": task.name, "features": kind, "classifier": classifier, "apart": task.group,
        "random": interval(hits["random"], (0, 1)), "grouped": interval(hits["grouped"], (0, 1)),
    }  # fmt: skip
    row["given"] = interval(hits["given"], (0, 1)) if task.given else None
    row["flattered"] = interval(hits["random"] - hits["grouped"], (-1, 1))
    return row


def cross_validated(
    x_RF: np.ndarray, target_R: np.ndarray, fold_R: np.ndarray, classifier: str
) -> np.ndarray:
    """Whether each clip is recognised by a classifier that was fitted on the other folds, (R,)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kinds = {
        "logistic regression": lambda: LogisticRegression(C=0.1, max_iter=500),
        "prototypes": NearestCentroid,
    }
    hit_R = np.zeros(len(x_RF))
    for fold in np.unique(fold_R):
        out = fold_R == fold
        # The scaler sees training clips only.
        model = make_pipeline(StandardScaler(), kinds[classifier]())
        with warnings.catch_warnings():
            # Of bands above a recording's Nyquist frequency, which are constant.
            warnings.filterwarnings("ignore", message=".*zero standard deviation.*")
            model.fit(x_RF[~out], target_R[~out])
        hit_R[out] = model.predict(x_RF[out]) == target_R[out]
    return hit_R


# --- what is shown ------------------------------------------------------------------------------


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table in words, columns without any value left out."""
    columns = {
        "task": table["task"],
        "features": table["features"],
        "classifier": table["classifier"],
        "random split": table["random"].map(percent_ends_cell),
        "kept apart": [f"{percent_ends_cell(i)} ({group})" for i, group in
                       zip(table["grouped"], table["apart"], strict=True)],
        "given folds": table["given"].map(lambda i: "" if i is None else percent_ends_cell(i)),
        "random flatters by": table["flattered"].map(_points_and_ends),
    }  # fmt: skip
    words: Any = pd.DataFrame(columns)
    return words.loc[:, (words != "").any()]


def _points_and_ends(interval: Interval) -> str:
    return f"{100 * interval.mean:+.1f} ({points_text(interval)})"


if __name__ == "__main__":
    run_as_command(main)
