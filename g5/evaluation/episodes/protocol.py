"""The test: a model on the fixed episodes of a split, beside chance and beside raw features.

Shape suffixes: P clips of a plan, A answers (all queries of all episodes).
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from archs.protonet import ProtoNet
from g5.common.errors import UserError
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
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan, plan_clips
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.events import Corpus
from preprocessing.normalize import Normalize

RESAMPLES = 2000  # of the bootstrap over classes and sources
ENOUGH = 1000  # episodes, below which a test says that it is a rough one


def run_test(
    *,
    model: ProtoNet,
    normalize: Normalize,
    corpus: Corpus,
    reader_for: Callable[[str], ClipReader],
    raw_reader_for: Callable[[str], ClipReader],
    raw_statistics: RawStatistics | None,
    trained_labels: Sequence[str],
    trained_recordings: Collection[str],
    split: str,
    n_way: int,
    k_shot: int,
    n_query: int,
    episodes: int,
    cross_source: bool,
    seed: int,
    batch_size: int,
    device: torch.device,
    temperature: float | None,
    views: int,
    refine: int,
) -> TestResult:
    """Test a model on the episodes (seed, split, epoch 0, 0..episodes-1) of a corpus.

    Args:
        reader_for: a split's name -> the reader of its clips in the model's front end.
        raw_reader_for: the same in log-mel; the same function where the front end is log-mel.
        raw_statistics: of the clips the model was trained on; None leaves a raw row out.
        trained_labels: the classes the model was trained on.
        trained_recordings: the recordings it was trained on (`Corpus.recordings_of`).
        split: which split is tested, e.g. ``"test"``.
        cross_source: support and query of a class come from different sources where they can.
        batch_size: clips that go through the encoder together.
        temperature: of the probabilities, fitted on validation; None where none was.
        views: of each support clip, whose mean embedding counts; 1: the clip itself.
        refine: rounds in which queries move the prototypes (`Refined`); 0: they do not.
    Returns:
        The result; the model is left in the mode it came in, on ``device``.
    Raises:
        UserError: the split is empty or has too few classes or calls; embeddings or logits are NaN.
        ProtocolError: a protocol check failed; the message names it.
    """
    events, labels = corpus.split(split), corpus.labels(split)
    if events.empty:
        raise UserError(f"the {split} split has no calls: nothing to test on; see `g5 data check`")
    reader = reader_for(split)
    sampler = EpisodeSampler(
        events, n_way=n_way, k_shot=k_shot, n_query=n_query, seed=seed, split=split,
        cross_source=cross_source, clips=reader,
    )  # fmt: skip
    plan = plan_clips(sampler.episodes(0, episodes))

    checks = [*check_leaks(corpus, split), check_disjoint(plan)]
    if split != "train":
        checks.append(check_untrained(events, trained_recordings))
    notes = list(sampler.notes)
    if cross_source:
        name, shared = check_sources(plan, events, k_shot=k_shot, n_query=n_query)
        exempt = f" but for {len(shared)} classes that cannot" if shared else ""
        checks.append(name + exempt)
    model.to(device)
    normalize.to(device)
    checks += check_model(model, normalize, plan, reader, device=device)

    settings: dict[str, Any] = {"batch_size": batch_size, "device": device}
    z_PD = embed_plan(model, normalize, plan, reader, **settings)
    support_PD = None
    if views > 1:
        support_PD = embed_plan(model, normalize, plan, reader, **settings, views=views)
    scores = evaluate_episodes(
        Refined(model, refine) if refine else model, z_PD, plan, labels,
        # Queries of no class of the episode would move its prototypes, too.
        temperature=temperature or 1.0, open_set=not refine, support=support_PD,
    )  # fmt: skip
    raw = raw_feature_scores(
        plan, raw_reader_for(split), labels, statistics=raw_statistics, batch_size=batch_size
    )
    if refine:
        checks.remove(QUERIES_INDEPENDENT)  # the model is; such a test is not
    notes += _left_out(scores, raw_statistics, temperature, refine)
    notes += _cautions(corpus, labels, trained_labels, split, episodes)
    source_A = events["source"].to_numpy()[scores.row_A]
    return TestResult(
        protocol=ProtocolFacts(
            split=split, n_way=n_way, k_shot=k_shot, n_query=n_query, episodes=episodes,
            n_classes=len(np.unique(scores.true_A)), n_clips=len(plan.rows), seed=seed,
            cross_source=cross_source, split_hash=corpus.split_hash, data_hash=corpus.data_hash,
            episodes_hash=_episodes_hash(plan, events), split_file=corpus.split_file,
        ),
        scores=scores,
        resampled=resampled_interval(
            scores.hit_A, scores.true_A, source_A, seed=seed, resamples=RESAMPLES
        ),
        raw=tuple(raw),
        source_A=source_A,
        checks=tuple(checks),
        notes=tuple(notes),
        mistakes=confident_mistakes(scores, plan, z_PD),
        clips=ClipEmbeddings.of(plan, z_PD),
    )  # fmt: skip


def _left_out(
    scores: EpisodeScores, statistics: RawStatistics | None, temperature: float | None, refine: int
) -> Iterator[str]:
    """What the numbers are without, or not to be compared with."""
    if statistics is None:
        yield "no training statistics: the raw-feature row z-scored by them is left out"
    if temperature is None:
        yield "not calibrated (no validation, or an older checkpoint): temperature 1"
    if refine:
        yield (
            f"transductive (arch.episodes.test_refine={refine}): an episode's queries answer "
            "together; not to be compared with tests that see one query at a time"
        )
    elif scores.open_set_E is None:
        yield "no open-set AUROC: every episode holds every class of its clip length"


def _cautions(
    corpus: Corpus, labels: list[str], trained_labels: Sequence[str], split: str, episodes: int
) -> list[str]:
    """What a reader of the number should know."""
    notes = []
    if episodes < ENOUGH:
        notes.append(f"only {episodes} episodes: a number to report takes at least {ENOUGH:,}")
    if split == "test" and corpus.test_is_val:
        notes.append("no test set: this is the validation set, on which the checkpoint was chosen")
    if split != "train" and (known := set(labels) & set(trained_labels)):
        notes.append(
            f"{len(known)} of {len(labels)} {split} classes were trained on, by their names"
        )
    return notes


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
