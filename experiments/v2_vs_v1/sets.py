"""What is tested on, and the answers of a model there, kept so that no test runs twice.

Shape suffixes: E episodes, A answers.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from experiments.common import note_look
from g5.common.atomic import atomic_path
from g5.config.parts import corpus_of, feature_set_of, log_mel_set_of
from g5.config.settings import Settings
from g5.config.stored import overridden
from g5.evaluation.episodes.protocol import TestedModel, TestedSplit, TestProtocol, run_test
from g5.evaluation.episodes.result import TestResult
from g5.tracking.restore import Restored

TEST_SEED = 1234  # of the episodes: the same for every model
EPISODES = 1000


@dataclass(frozen=True)
class TestSet:
    """A set of clips and a protocol.

    Attributes:
        key: of its files.
        name: in a table.
        table: the CSV, under ``path.real_dir``.
    """

    __test__ = False  # not a test case

    key: str
    name: str
    table: str
    clip_s: float
    n_way: int
    k_shot: int
    n_query: int

    def settings(self, restored: Restored, home: Path) -> Settings:
        """A checkpoint's settings on these clips, which lie below ``home``."""
        overrides = ["data=clips", "data.split=test", f"features.clip_s={self.clip_s}"]
        return overridden(restored.config, overrides, {"data.root": str(home / self.table)})

    @property
    def protocol(self) -> TestProtocol:
        """The same episodes for every model."""
        return TestProtocol(
            n_way=self.n_way, k_shot=self.k_shot, n_query=self.n_query, episodes=EPISODES,
            cross_source=True, seed=TEST_SEED, refine=0, batch_size=50,
        )  # fmt: skip


# ESC-10's sounds may be anywhere in their five seconds; half a second is FSDD's median length.
REAL = (
    TestSet("esc5", "ESC-10 5-way 5-shot", "esc10/clips.csv", 5.0, 5, 5, 5),
    TestSet("esc1", "ESC-10 5-way 1-shot", "esc10/clips.csv", 5.0, 5, 1, 5),
    TestSet("fsdd1", "FSDD 60-way 1-shot", "fsdd/clips.csv", 0.5, 60, 1, 2),
    TestSet("fsdd5", "FSDD 20-way 5-shot", "fsdd/clips.csv", 0.5, 20, 5, 2),
)


@dataclass(frozen=True)
class Answers:
    """What a model, and raw features beside it, answered.

    Attributes:
        hit_A: right or wrong.
        raw: of each raw-feature row, likewise.
        class_A, source_A: of the queries.
        episodes_hash: of the episodes; equal ones are the same.
    """

    hit_A: np.ndarray
    raw: Mapping[str, np.ndarray]
    class_A: np.ndarray
    source_A: np.ndarray
    episodes_hash: str

    @property
    def accuracy_E(self) -> np.ndarray:
        return per_episode(self.hit_A)

    @property
    def raw_best(self) -> str:
        """The raw-feature row with the highest mean."""
        return max(self.raw, key=lambda name: self.raw[name].mean())


def per_episode(value_A: np.ndarray) -> np.ndarray:
    """Means over the answers of each episode, ``(E,)``."""
    return value_A.reshape(EPISODES, -1).mean(1)


class AnswerStore:
    """Answers by model and set, in a folder.

    Args:
        folder: ``outputs/v2_vs_v1``.
        home: where the real sets lie.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home

    def of(self, name: str, restored: Restored, test_set: TestSet) -> Answers:
        """The answers of a model, from an earlier call where there was one of the same weights."""
        path = self.folder / "answers" / f"{name}-{test_set.key}.npz"
        weights = fingerprint(restored)
        if path.is_file():
            with np.load(path) as kept:
                if str(kept["weights"]) == weights:
                    return _answers(dict(kept))
        if test_set in REAL:
            note_look(self.folder / "looks.csv", model=name, set=test_set.name)
        content = _content(self._test(restored, test_set), weights)
        with atomic_path(path) as temporary, open(temporary, "wb") as handle:
            np.savez_compressed(handle, **content)
        return _answers(content)

    def _test(self, restored: Restored, test_set: TestSet) -> TestResult:
        settings = test_set.settings(restored, self.home)
        corpus = corpus_of(settings)
        feature_set = feature_set_of(settings, corpus, restored.front_end)
        log_mel = log_mel_set_of(settings, feature_set)
        on = TestedSplit(corpus, "test", feature_set.reader, log_mel.reader)
        model = TestedModel.of(restored)
        return run_test(model, on, test_set.protocol, device=torch.device("cpu"))

    def looks(self) -> int:
        """How often a model has been tested on a real set."""
        path, names = self.folder / "looks.csv", [one.name for one in REAL]
        return sum(one in names for one in pd.read_csv(path)["set"]) if path.exists() else 0


def fingerprint(restored: Restored) -> str:
    """Of the weights that answer, and of the distance."""
    digest = hashlib.sha256(restored.model.distance.encode())
    for name, value in restored.model.state_dict().items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _content(result: TestResult, weights: str) -> dict[str, Any]:
    scores = result.scores
    return {
        "weights": weights,
        "hit_A": scores.hit_A,
        "class_A": scores.true_A,
        "source_A": np.unique(result.source_A.astype(str), return_inverse=True)[1],
        "episodes_hash": result.protocol.episodes_hash,
        **{f"raw {row.name}": row.scores.hit_A for row in result.raw},
    }


def _answers(content: Mapping[str, Any]) -> Answers:
    raw = {key.removeprefix("raw "): content[key] for key in content if key.startswith("raw ")}
    return Answers(
        hit_A=content["hit_A"], raw=raw, class_A=content["class_A"], source_A=content["source_A"],
        episodes_hash=str(content["episodes_hash"]),
    )  # fmt: skip
