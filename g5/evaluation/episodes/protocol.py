"""The test: a model on the fixed episodes of a split, beside chance and beside raw features.

Shape suffixes: P clips of a plan, A answers (all queries of all episodes).
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from archs.protonet import ProtoNet
from g5.common.errors import UserError
from g5.config.settings import Settings
from g5.evaluation.episodes.checks import (
    QUERIES_INDEPENDENT,
    check_disjoint,
    check_leaks,
    check_model,
    check_sources,
    check_untrained,
)
from g5.evaluation.episodes.mistakes import ClipEmbeddings, confident_mistakes
from g5.evaluation.episodes.raw_features import RawStatistics, raw_feature_scores
from g5.evaluation.episodes.refinement import Refined
from g5.evaluation.episodes.result import ProtocolFacts, TestResult
from g5.evaluation.episodes.scoring import EpisodeScores, embed_plan, evaluate_episodes
from g5.evaluation.intervals import resampled_interval
from g5.tracking.restore import Restored
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan, plan_clips
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.events import Corpus
from preprocessing.normalize import Normalize

RESAMPLES = 2000  # of the bootstrap over classes and sources
ENOUGH = 1000  # episodes, below which a test says that it is a rough one


@dataclass(frozen=True)
class TestProtocol:
    """The rules of a test.

    Attributes:
        n_way, k_shot, n_query, episodes: its size.
        cross_source: support and query of a class come from different sources where they can.
        seed: of the episodes.
        refine: rounds in which queries move the prototypes (`Refined`); 0: they do not.
        batch_size: clips that go through the encoder together.
    """

    __test__ = False  # not a test case

    n_way: int
    k_shot: int
    n_query: int
    episodes: int
    cross_source: bool
    seed: int
    refine: int
    batch_size: int

    @classmethod
    def of(cls, settings: Settings) -> "TestProtocol":
        """As `arch.episodes` and `seed` say."""
        episodes = settings.arch.episodes
        return cls(
            **episodes.size, episodes=episodes.test_episodes, seed=settings.seed,
            refine=episodes.test_refine, batch_size=episodes.clips,
        )  # fmt: skip

    def sampler(self, events: pd.DataFrame, split: str, reader: ClipReader) -> EpisodeSampler:
        """What draws the episodes."""
        return EpisodeSampler(
            events, n_way=self.n_way, k_shot=self.k_shot, n_query=self.n_query, seed=self.seed,
            split=split, cross_source=self.cross_source, clips=reader,
        )  # fmt: skip


@dataclass(frozen=True)
class TestedModel:
    """A model, and what it knows from its training.

    Attributes:
        model: encoder and distance.
        normalize: features to what the encoder eats.
        trained_labels: the classes it was trained on.
        trained_recordings: the recordings it was trained on (`Corpus.recordings_of`).
        raw_statistics: of the training clips; None leaves a row of raw features out.
        temperature: of the probabilities, fitted on validation; None where none was.
    """

    __test__ = False

    model: ProtoNet
    normalize: Normalize
    trained_labels: Sequence[str]
    trained_recordings: Collection[str]
    raw_statistics: RawStatistics | None
    temperature: float | None

    @classmethod
    def of(cls, restored: Restored) -> "TestedModel":
        """A checkpoint's."""
        return cls(
            restored.model,
            restored.normalize,
            restored.label_map["train"],
            restored.header.get("trained_recordings", ()),
            RawStatistics(**restored.header["raw_statistics"]),
            restored.temperature,
        )


@dataclass(frozen=True)
class TestedSplit:
    """What is tested on.

    Attributes:
        corpus: recordings and calls.
        split: which part of them, e.g. ``"test"``.
        reader_for: a split's name -> the reader of its clips in the model's front end.
        raw_reader_for: the same in log-mel; the same function where the front end is log-mel.
    """

    __test__ = False

    corpus: Corpus
    split: str
    reader_for: Callable[[str], ClipReader]
    raw_reader_for: Callable[[str], ClipReader]

    @property
    def events(self) -> pd.DataFrame:
        """The split's calls."""
        return self.corpus.split(self.split)

    @property
    def labels(self) -> list[str]:
        """The split's classes."""
        return self.corpus.labels(self.split)


def run_test(
    tested: TestedModel, on: TestedSplit, protocol: TestProtocol, *, device: torch.device
) -> TestResult:
    """Test a model on the episodes (seed, split, epoch 0, 0..episodes-1) of a corpus.

    Returns:
        The result; the model is left in the mode it came in, on ``device``.
    Raises:
        UserError: the split is empty or has too few classes or calls; embeddings or logits are NaN.
        ProtocolError: a protocol check failed; the message names it.
    """
    events, labels, refine = on.events, on.labels, protocol.refine
    if events.empty:
        raise UserError(
            f"the {on.split} split has no calls: nothing to test on; see `g5 data check`"
        )
    model, normalize, reader = tested.model, tested.normalize, on.reader_for(on.split)
    sampler = protocol.sampler(events, on.split, reader)
    plan = plan_clips(sampler.episodes(0, protocol.episodes))
    checks = _checks_of(plan, tested, on, protocol)
    model.to(device)
    normalize.to(device)
    checks += check_model(model, normalize, plan, reader, device=device)
    batch_size = protocol.batch_size
    z_PD = embed_plan(model, normalize, plan, reader, batch_size=batch_size, device=device)
    scores = evaluate_episodes(
        Refined(model, refine) if refine else model, z_PD, plan, labels,
        # Queries of no class of the episode would move its prototypes, too.
        temperature=tested.temperature or 1.0, open_set=not refine,
    )  # fmt: skip
    raw = raw_feature_scores(
        plan, on.raw_reader_for(on.split), labels, statistics=tested.raw_statistics,
        batch_size=batch_size,
    )  # fmt: skip
    if refine:
        checks.remove(QUERIES_INDEPENDENT)  # the model is; such a test is not
    source_A = events["source"].to_numpy()[scores.row_A]
    return TestResult(
        protocol=_facts(plan, scores, on, protocol),
        scores=scores,
        resampled=resampled_interval(
            scores.hit_A, scores.true_A, source_A, seed=protocol.seed, resamples=RESAMPLES
        ),
        raw=tuple(raw),
        source_A=source_A,
        checks=tuple(checks),
        notes=(
            *sampler.notes, *_left_out(scores, tested, refine),
            *_cautions(on, tested.trained_labels, protocol.episodes),
        ),
        mistakes=confident_mistakes(scores, plan, z_PD, events),
        clips=ClipEmbeddings.of(plan, z_PD),
    )  # fmt: skip


def _checks_of(
    plan: ClipPlan, tested: TestedModel, on: TestedSplit, protocol: TestProtocol
) -> list[str]:
    """What must hold of the episodes, whatever the model makes of them."""
    checks = [*check_leaks(on.corpus, on.split), check_disjoint(plan)]
    if on.split != "train":
        checks.append(check_untrained(on.events, tested.trained_recordings))
    if protocol.cross_source:
        name, shared = check_sources(
            plan, on.events, k_shot=protocol.k_shot, n_query=protocol.n_query
        )
        exempt = f" but for {len(shared)} classes that cannot" if shared else ""
        checks.append(name + exempt)
    return checks


def _facts(
    plan: ClipPlan, scores: EpisodeScores, on: TestedSplit, protocol: TestProtocol
) -> ProtocolFacts:
    return ProtocolFacts(
        split=on.split, n_way=protocol.n_way, k_shot=protocol.k_shot, n_query=protocol.n_query,
        episodes=protocol.episodes, n_classes=len(np.unique(scores.true_A)),
        n_clips=len(plan.rows), seed=protocol.seed, cross_source=protocol.cross_source,
        split_hash=on.corpus.split_hash, data_hash=on.corpus.data_hash,
        episodes_hash=_episodes_hash(plan, on.events), split_file=on.corpus.split_file,
    )  # fmt: skip


def _left_out(scores: EpisodeScores, tested: TestedModel, refine: int) -> Iterator[str]:
    """What the numbers are without, or not to be compared with."""
    if tested.raw_statistics is None:
        yield "no training statistics: the raw-feature row z-scored by them is left out"
    if tested.temperature is None:
        yield "not calibrated (no validation, or an older checkpoint): temperature 1"
    if refine:
        yield (
            f"transductive (arch.episodes.test_refine={refine}): an episode's queries answer "
            "together; not to be compared with tests that see one query at a time"
        )
    elif scores.open_set_E is None:
        yield "no open-set AUROC: every episode holds every class of its clip length"


def _cautions(on: TestedSplit, trained_labels: Sequence[str], episodes: int) -> Iterator[str]:
    """What a reader of the number should know."""
    if episodes < ENOUGH:
        yield f"only {episodes} episodes: a number to report takes at least {ENOUGH:,}"
    if on.split == "test" and on.corpus.test_is_val:
        yield "no test set: this is the validation set, on which the checkpoint was chosen"
    if on.split != "train" and (known := set(on.labels) & set(trained_labels)):
        yield f"{len(known)} of {len(on.labels)} {on.split} classes were trained on, by their names"


def _episodes_hash(plan: ClipPlan, events: pd.DataFrame) -> str:
    """Which calls are support and query in every episode, in 16 hex digits.

    A call is its recording's bytes, its times and its label, wherever the file lies.
    """
    calls = events[["sha256", "start_s", "end_s", "label"]].iloc[plan.rows.numpy()]
    names_P = [repr(call).encode() for call in calls.itertuples(index=False, name=None)]
    digest = hashlib.sha256()
    for episode in plan.episodes:
        for position in torch.cat([episode.support.flatten(), episode.query.flatten()]).tolist():
            digest.update(names_P[position])
    return digest.hexdigest()[:16]
