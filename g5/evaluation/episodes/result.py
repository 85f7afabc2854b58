"""What a test found: the numbers, the protocol they were found under, and the files they go to.

Shape suffixes: E episodes, A answers, C classes.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from g5.common.atomic import atomic_path, write_json
from g5.common.words import counted
from g5.evaluation.episodes.mistakes import ClipEmbeddings, Mistake
from g5.evaluation.episodes.raw_features import RawScores
from g5.evaluation.episodes.scoring import EpisodeScores
from g5.evaluation.intervals import Interval
from g5.tracking.folders import ANSWERS, EPISODES, SCORES

FORMAT = 2  # of test_scores.json and its tables; counts up when a reader must change


@dataclass(frozen=True)
class ProtocolFacts:
    """What two tests must share for their episodes to be paired.

    Attributes:
        split: the split that was tested.
        n_classes: classes the episodes draw from.
        n_clips: distinct clips that were embedded.
        seed: of the episodes.
        cross_source: whether support and query were to come from different sources.
        split_hash, data_hash: of the corpus.
        episodes_hash: of the very rows in every episode; equal hashes over equal split hashes are
            the same episodes.
        split_file: hash of the split file that parted the corpus, or None.
    """

    split: str
    n_way: int
    k_shot: int
    n_query: int
    episodes: int
    n_classes: int
    n_clips: int
    seed: int
    cross_source: bool
    split_hash: str
    data_hash: str
    episodes_hash: str
    split_file: str | None = None


@dataclass(frozen=True)
class TestResult:
    """Everything a test found.

    Attributes:
        scores: the encoder's answers.
        resampled: interval over resampled test classes and sources, which is the wider one.
        raw: the raw-feature rows on the same episodes.
        source_A: the source of each answer's query.
        checks: names of the protocol checks that ran and passed.
        notes: what the protocol could not keep, or the reader should know.
        mistakes: the most confident wrong answers.
        clips: the embeddings of the test's clips, for maps; None where they were not kept.
    """

    __test__ = False  # not a test case, whatever pytest thinks of its name

    protocol: ProtocolFacts
    scores: EpisodeScores
    resampled: Interval
    raw: tuple[RawScores, ...]
    source_A: np.ndarray
    checks: tuple[str, ...]
    notes: tuple[str, ...]
    mistakes: tuple[Mistake, ...] = ()
    clips: ClipEmbeddings | None = None

    @property
    def interval(self) -> Interval:
        """Mean accuracy over episodes with its 95 % interval."""
        return self.scores.interval

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / self.protocol.n_way

    @property
    def raw_best(self) -> RawScores:
        """The raw-feature row with the highest mean."""
        return max(self.raw, key=lambda row: row.interval.mean)

    def metrics(self) -> dict[str, float]:
        """The few numbers that MLflow lists runs by, ``test/...``; `SCORES` has all of them."""
        interval, raw = self.interval, self.raw_best.interval
        numbers = {
            "acc": interval.mean,
            "acc_ci95": interval.half_width,
            "gain_over_raw": interval.mean - raw.mean,
            "raw_best": raw.mean,
        }
        return {f"test/{name}": float(v) for name, v in numbers.items() if math.isfinite(v)}

    def headline(self) -> str:
        """The result in a sentence."""
        facts, interval, raw = self.protocol, self.interval, self.raw_best
        classes = counted(facts.n_classes, "class", "classes")
        return (
            f"{interval.mean:.1%} ± {interval.half_width:.1%} right in {facts.episodes:,} episodes "
            f"({facts.n_way}-way {facts.k_shot}-shot, {classes}); raw features ({raw.name}) "
            f"{raw.interval.mean:.1%}, chance {self.chance:.1%}."
        )

    def quality(self) -> dict[str, float]:
        """Every further number about the answers and their probabilities, by name.

        NaN where the test cannot tell: AUROC of classes that were never asked, open-set AUROC
        where every class is in every episode.
        """
        classes, sure = self.scores.classes, self.scores.probabilities
        names = ("balanced_accuracy", "macro_precision", "macro_recall", "macro_f1",
                 "micro_precision", "micro_recall", "micro_f1")  # fmt: skip
        numbers = {name: getattr(classes, name) for name in names}
        numbers |= {f"top{k}": value for k, value in sure.top_k.items()}
        numbers |= {name: getattr(sure, name) for name in ("roc_auc", "average_precision")}
        numbers |= {name: getattr(sure, name) for name in ("ece", "brier", "nll")}
        numbers["temperature"] = self.scores.temperature
        open_set = self.scores.open_set
        numbers["open_set_auroc"] = math.nan if open_set is None else open_set.mean
        if open_set is not None:
            numbers["open_set_auroc_ci95"] = open_set.half_width
        return numbers

    def save(self, folder: Path) -> list[Path]:
        """Write the numbers and the tables that let anyone pair or pool them later.

        ``test_scores.json`` holds everything but the two tables; ``test_episodes.parquet`` one row
        per episode (accuracy of the encoder and of each raw-feature row);
        ``test_predictions.parquet`` one row per query (true and predicted label, source,
        probability of the prediction). Each file appears whole or not at all.

        Returns:
            The three paths.
        """
        folder = Path(folder)
        paths = [folder / name for name in (SCORES, EPISODES, ANSWERS)]
        write_json(paths[0], self._plain())
        for target, table in zip(
            paths[1:], (self.episode_table(), self.answer_table()), strict=True
        ):
            with atomic_path(target) as path:
                table.to_parquet(path, index=False)
        return paths

    def episode_table(self) -> pd.DataFrame:
        """One row per episode: ``episode, accuracy, raw_<row>...[, open_set_auroc]``."""
        n_answers = len(self.scores.true_A) // len(self.scores.accuracy_E)
        columns = {
            "episode": self.scores.episode_A[::n_answers],
            "accuracy": self.scores.accuracy_E,
        }
        columns |= {f"raw_{_metric_key(row.name)}": row.scores.accuracy_E for row in self.raw}
        if self.scores.open_set_E is not None:
            columns["open_set_auroc"] = self.scores.open_set_E
        return pd.DataFrame(columns)

    def answer_table(self) -> pd.DataFrame:
        """One row per query: ``episode, row, label, predicted, probability, source``."""
        scores, labels = self.scores, pd.Index(self.scores.labels)
        return pd.DataFrame(
            {
                "episode": scores.episode_A,
                "row": scores.row_A,
                "label": pd.Categorical.from_codes(scores.true_A, labels),
                "predicted": pd.Categorical.from_codes(scores.predicted_A, labels),
                "probability": scores.probability_A,
                "source": pd.Categorical(self.source_A),
            }
        )

    def _plain(self) -> dict:
        """What ``test_scores.json`` holds."""
        return {
            "format": FORMAT,
            "protocol": asdict(self.protocol),
            "accuracy": asdict(self.interval),
            "accuracy_resampled": asdict(self.resampled),
            "chance": self.chance,
            "raw": {row.name: asdict(row.interval) for row in self.raw},
            "raw_best": self.raw_best.name,
            **{name: _json_number(value) for name, value in self.quality().items()},
            "per_class": self._per_class(),
            "checks": list(self.checks),
            "notes": list(self.notes),
        }

    def _per_class(self) -> list[dict]:
        """Accuracy, support, and how sure and how separable, class by class."""
        classes, sure = self.scores.classes, self.scores.probabilities
        return [
            {
                "label": label,
                "accuracy": _json_number(classes.accuracy_C[c]),
                "queries": int(classes.support_C[c]),
                "confidence_correct": _json_number(sure.confidence_correct_C[c]),
                "roc_auc": _json_number(sure.roc_auc_C[c]),
                "average_precision": _json_number(sure.average_precision_C[c]),
            }
            for c, label in enumerate(self.scores.labels)
        ]


def _json_number(value: float) -> float | None:
    """What JSON can hold: it has no NaN."""
    return float(value) if math.isfinite(value) else None


def _metric_key(name: str) -> str:
    """A raw-feature row's name as part of a metric's: ``z-scored + L2`` -> ``z_scored_l2``."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
