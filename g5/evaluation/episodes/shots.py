"""The shot curve: accuracy over the number of support calls, on the same classes and queries.

Episodes are drawn once, with as many shots as the classes allow; fewer shots are the first calls
of the same support. So each clip is embedded once, and neighbouring points differ by nothing but
the number of shots.

Shapes: P clips of a plan, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from g5.common.errors import UserError
from g5.common.words import counted
from g5.evaluation.episodes.checks import check_disjoint, check_leaks, check_model
from g5.evaluation.episodes.protocol import RESAMPLES, TestedModel, TestedSplit, TestProtocol
from g5.evaluation.episodes.raw_features import (
    NearestPrototype,
    raw_features,
    z_scored,
)
from g5.evaluation.episodes.scoring import Scorer, embed_plan, evaluate_episodes
from g5.evaluation.intervals import resampled_interval
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan, plan_clips
from preprocessing.episodes.sampling import EpisodeSampler

SHOTS = (1, 2, 5, 10, 20)
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
    name: str, tested: TestedModel, on: TestedSplit, protocol: TestProtocol, *, device: torch.device
) -> ShotCurve:
    """Test a model at each of `SHOTS` that the test classes allow, beside raw features.

    Args:
        name: of the model.
        tested: its training clips' statistics are needed.
        on: what it is tested on.
        protocol: all but its shots, and its refinement.

    Raises:
        UserError: not even one shot is possible; a check or an embedding failed.
    """
    events, labels, batch_size = on.events, on.labels, protocol.batch_size
    model, normalize, reader = tested.model, tested.normalize, on.reader_for(on.split)
    sampler, notes = _sampler(on, reader, protocol)
    plan = plan_clips(sampler.episodes(0, protocol.episodes))
    checks = [*check_leaks(on.corpus, on.split), check_disjoint(plan)]
    checks += check_model(model, normalize, plan, reader, device=device)
    z_PD = embed_plan(model, normalize, plan, reader, batch_size=batch_size, device=device)
    raw_PF, _ = raw_features(plan, on.raw_reader_for(on.split), batch_size=batch_size)
    assert tested.raw_statistics is not None
    source_R = events["source"].to_numpy()
    rows = []
    sides: tuple[tuple[str, Scorer, Tensor], ...] = (
        (name, model, z_PD),
        (RAW, NearestPrototype(), z_scored(raw_PF, tested.raw_statistics)),
    )
    for side, scorer, features in sides:
        for k in [k for k in SHOTS if k <= sampler.k_shot]:
            scores = evaluate_episodes(scorer, features, _first_shots(plan, k), labels)
            wide = resampled_interval(
                scores.hit_A, scores.true_A, source_R[scores.row_A], seed=protocol.seed,
                resamples=RESAMPLES,
            )  # fmt: skip
            span = scores.interval
            rows.append((side, k, span.mean, span.low, span.high, wide.low, wide.high))
    columns = ["name", "k_shot", "accuracy", "low", "high", "low_resampled", "high_resampled"]
    return ShotCurve(
        table=pd.DataFrame(rows, columns=columns),
        checks=tuple(checks),
        notes=tuple(notes),
        n_classes=len({c for e in plan.episodes for c in e.class_ids.tolist()}),
        n_clips=len(plan.rows),
        episodes=protocol.episodes,
        n_way=protocol.n_way,
        n_query=protocol.n_query,
    )


def _sampler(
    on: TestedSplit, reader: ClipReader, protocol: TestProtocol
) -> tuple[EpisodeSampler, list[str]]:
    """The sampler of the most shots that the test allows, and a note on those it does not.

    It must leave ``n_way`` classes with enough calls, and must not put support and query of more
    classes into one recording than a single shot does: more shots would look better than they are.
    """
    fewest = min(SHOTS)
    chosen = replace(protocol, k_shot=fewest).sampler(on.events, on.split, reader)
    shared = set(chosen.shared_source)
    notes = []
    for k in SHOTS[1:]:
        try:
            sampler = replace(protocol, k_shot=k).sampler(on.events, on.split, reader)
        except UserError:
            calls = k + protocol.n_query
            why = f"fewer than {protocol.n_way} {on.split} classes have {counted(calls, 'call')}"
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
