"""The shot curve: accuracy over the number of support calls, on the same classes and queries.

Episodes are drawn once, with as many shots as the classes allow; fewer shots are the first calls
of the same support. So each clip is embedded once, and neighbouring points differ by nothing but
the number of shots.

Shapes: P clips of a plan, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from archs.protonet import ProtoNet
from g5.common.errors import UserError
from g5.evaluation.episodes.checks import check_disjoint, check_leaks, check_model
from g5.evaluation.episodes.raw_features import (
    NearestPrototype,
    RawStatistics,
    raw_features,
    z_scored,
)
from g5.evaluation.episodes.scoring import Scorer, embed_plan, evaluate_episodes
from g5.evaluation.intervals import resampled_interval
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan, plan_clips
from preprocessing.episodes.sampling import EpisodeSampler
from preprocessing.events import Corpus
from preprocessing.normalize import Normalize

SHOTS = (1, 2, 5, 10, 20)
RESAMPLES = 2000
RAW = "raw features, z-scored + L2"


@dataclass(frozen=True)
class ShotCurve:
    """Accuracies over shots.

    Attributes:
        table: ``name, k_shot, accuracy, low, high, low_resampled, high_resampled``, the model's
            rows first; the latter interval is over resampled classes and sources.
        checks: names of the protocol checks that passed.
        notes: shots and classes that are left out, and what could not be kept.
        n_classes, n_clips, episodes, n_way, n_query: of the test.
    """

    table: pd.DataFrame
    checks: tuple[str, ...]
    notes: tuple[str, ...]
    n_classes: int
    n_clips: int
    episodes: int
    n_way: int
    n_query: int


def shot_accuracies(
    *,
    model: ProtoNet,
    normalize: Normalize,
    name: str,
    corpus: Corpus,
    reader: ClipReader,
    raw_reader: ClipReader,
    raw_statistics: RawStatistics,
    n_way: int,
    n_query: int,
    episodes: int,
    cross_source: bool,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> ShotCurve:
    """Test a model at each of `SHOTS` that the test classes allow, beside raw features.

    Args:
        name: of the model.
        reader, raw_reader: of the test split's clips, in the model's front end and in log-mel.
        raw_statistics: of the training clips.
    Raises:
        UserError: not even one shot is possible; a check or an embedding failed.
    """
    events, labels = corpus.split("test"), corpus.labels("test")
    size: dict[str, Any] = {"n_way": n_way, "n_query": n_query, "cross_source": cross_source}
    sampler, notes = _sampler(events, reader, seed, size)
    plan = plan_clips(sampler.episodes(0, episodes))
    checks = [*check_leaks(corpus, "test"), check_disjoint(plan)]
    checks += check_model(model, normalize, plan, reader, device=device)
    z_PD = embed_plan(model, normalize, plan, reader, batch_size=batch_size, device=device)
    raw_PF, _ = raw_features(plan, raw_reader, batch_size=batch_size)
    source_R = events["source"].to_numpy()
    rows = []
    sides: tuple[tuple[str, Scorer, Tensor], ...] = (
        (name, model, z_PD),
        (RAW, NearestPrototype(), z_scored(raw_PF, raw_statistics)),
    )
    for side, scorer, features in sides:
        for k in [k for k in SHOTS if k <= sampler.k_shot]:
            scores = evaluate_episodes(scorer, features, _first_shots(plan, k), labels)
            wide = resampled_interval(
                scores.hit_A, scores.true_A, source_R[scores.row_A], seed=seed, resamples=RESAMPLES
            )
            span = scores.interval
            rows.append((side, k, span.mean, span.low, span.high, wide.low, wide.high))
    columns = ["name", "k_shot", "accuracy", "low", "high", "low_resampled", "high_resampled"]
    return ShotCurve(
        table=pd.DataFrame(rows, columns=columns),
        checks=tuple(checks),
        notes=tuple(notes),
        n_classes=len({c for e in plan.episodes for c in e.class_ids.tolist()}),
        n_clips=len(plan.rows),
        episodes=episodes,
        n_way=n_way,
        n_query=n_query,
    )


def _sampler(
    events: pd.DataFrame, reader: ClipReader, seed: int, size: dict[str, Any]
) -> tuple[EpisodeSampler, list[str]]:
    """The sampler of the most shots that the test allows, and a note on those it does not.

    It must leave ``n_way`` classes with enough calls, and must not put support and query of more
    classes into one recording than a single shot does: more shots would look better than they are.
    """
    fewest = min(SHOTS)
    chosen = EpisodeSampler(events, k_shot=fewest, seed=seed, split="test", clips=reader, **size)
    shared = set(chosen.shared_source)
    notes = []
    for k in SHOTS[1:]:
        try:
            sampler = EpisodeSampler(
                events, k_shot=k, seed=seed, split="test", clips=reader, **size
            )
        except UserError:
            why = f"fewer than {size['n_way']} test classes have {k + size['n_query']} calls"
        else:
            if set(sampler.shared_source) <= shared:
                chosen = sampler
                continue
            why = "support and query would have to share recordings"
        rest = _listed([shots for shots in SHOTS if shots >= k])
        notes.append(f"{rest} shots are left out: {why}")
        break
    return chosen, [*notes, *chosen.notes]


def _first_shots(plan: ClipPlan, k: int) -> ClipPlan:
    """The same episodes with the first ``k`` support calls of every class."""
    return replace(plan, episodes=[replace(e, support=e.support[:, :k]) for e in plan.episodes])


def _listed(numbers: Sequence[int]) -> str:
    head, last = numbers[:-1], str(numbers[-1])
    return f"{', '.join(map(str, head))} and {last}" if head else last
