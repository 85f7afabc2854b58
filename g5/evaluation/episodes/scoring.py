"""Each clip embedded once, every episode of a plan answered and scored.

Shape suffixes: P clips of a plan, E episodes, B clips of a batch, M mel bands, T frames, N ways,
K shots, Q queries of a class, A answers (all queries of all episodes; of one episode beside E),
U queries of unknown classes, D embedding width, C classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor, nn

from archs.protonet import ProtoNet
from g5.common.errors import UserError
from g5.common.progress import track
from g5.evaluation.intervals import Interval, mean_interval
from g5.evaluation.metrics import (
    ClassScores,
    ProbabilityScores,
    class_scores,
    open_set_auroc,
    probability_scores,
)
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.draws import generator
from preprocessing.episodes.episode import Episode
from preprocessing.episodes.plans import ClipPlan, clip_batches

# Queries of unknown classes in an episode, at most; as many as known ones where that is fewer.
UNKNOWN = 50
OPEN_SET = 2  # the stream of an episode's random numbers that draws them


class Scorer(Protocol):
    """What classifies queries: a `ProtoNet`, or nearest prototypes on raw features."""

    def logits(self, support_NKD: Tensor, query_QD: Tensor) -> Tensor:
        """Scores (N*Q, N), the largest is the answer."""
        ...


@dataclass(frozen=True)
class EpisodeScores:
    """Every answer to every query, and what follows from them.

    Attributes:
        labels: the split's C sorted labels; class ids index them.
        accuracy_E: share of an episode's queries that were right.
        episode_A: index of the answer's episode, as the sampler counts them.
        row_A: the query's row in the split's table.
        way_A: the true way of the query, which numbers the columns of ``logits_AN``.
        class_EN: the class id of every way of every episode.
        logits_AN: as the model gave them; an answer is the largest.
        temperature: by which logits are divided before they become probabilities.
        open_set_E: AUROC of telling queries of the episode's classes from queries of others by
            the largest logit; None where there were no others, or nobody asked.
    """

    labels: list[str]
    accuracy_E: np.ndarray
    episode_A: np.ndarray
    row_A: np.ndarray
    way_A: np.ndarray
    class_EN: np.ndarray
    logits_AN: np.ndarray
    temperature: float = 1.0
    open_set_E: np.ndarray | None = None
    classes: ClassScores = field(init=False)

    def __post_init__(self) -> None:
        scores = class_scores(self.true_A, self.predicted_A, len(self.labels))
        object.__setattr__(self, "classes", scores)

    @cached_property
    def class_AN(self) -> np.ndarray:
        """The class id of each column of each answer."""
        return self.class_EN.repeat(len(self.way_A) // len(self.class_EN), axis=0)

    @cached_property
    def true_A(self) -> np.ndarray:
        """The query's class id."""
        return self.class_AN[np.arange(len(self.way_A)), self.way_A]

    @cached_property
    def predicted_A(self) -> np.ndarray:
        """The answered class id."""
        return self.class_AN[np.arange(len(self.way_A)), self.logits_AN.argmax(1)]

    @cached_property
    def probability_AN(self) -> np.ndarray:
        """Calibrated probabilities of the ways, float64."""
        return softmax(self.logits_AN.astype(np.float64) / self.temperature, axis=1)

    @property
    def probability_A(self) -> np.ndarray:
        """The calibrated probability of the answer."""
        return self.probability_AN.max(1)

    @cached_property
    def probabilities(self) -> ProbabilityScores:
        """How good the calibrated probabilities are."""
        return probability_scores(
            self.probability_AN, self.way_A, class_AN=self.class_AN, n_classes=len(self.labels)
        )

    @property
    def hit_A(self) -> np.ndarray:
        """(A,) bool: whether the answer is right."""
        return self.true_A == self.predicted_A

    @property
    def interval(self) -> Interval:
        """Mean accuracy over episodes with its 95 % interval."""
        return mean_interval(self.accuracy_E)

    @property
    def open_set(self) -> Interval | None:
        """Mean AUROC over episodes with its 95 % interval."""
        return None if self.open_set_E is None else mean_interval(self.open_set_E)


@contextmanager
def evaluation_mode(*modules: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside, what was before outside."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval()
        with torch.no_grad():
            yield
    finally:
        for part, training in before:
            part.training = training


def embed_plan(
    model: ProtoNet,
    normalize: nn.Module,
    plan: ClipPlan,
    reader: ClipReader,
    *,
    batch_size: int,
    device: torch.device,
) -> Tensor:
    """Embed each clip of a plan once.

    Args:
        model: embeds ``(B, 1, M, T) -> (B, D)``; it and ``normalize`` are moved to ``device``.
        normalize: ``(x_B1MT, stats_B2) -> x_B1MT``.
        batch_size: clips that go through the encoder together.
    Returns:
        (P, D) float32 on ``device``, row p for the plan's clip p.
    Raises:
        UserError: an embedding is not finite.
    """
    model.to(device)
    normalize.to(device)
    z_PD = torch.empty(len(plan.rows), model.embedding_dim, device=device)
    with evaluation_mode(model, normalize):
        for position_B, x_B1MT, stats_B2 in tracked_batches(plan, reader, batch_size, "embed"):
            x_B1MT = normalize(_to(x_B1MT, device), _to(stats_B2, device))
            z_PD[_to(position_B, device)] = model(x_B1MT).float()
    finite_P = torch.isfinite(z_PD).all(1)
    if not finite_P.all():
        row = int(plan.rows[int((~finite_P).nonzero()[0])])
        raise UserError(
            f"{int((~finite_P).sum())} of {len(finite_P)} embeddings are NaN or infinite (first: "
            f"row {row} of the split); training has diverged: test an earlier checkpoint, or train "
            "with a lower arch.training.learning_rate"
        )
    return z_PD


def evaluate_episodes(
    model: Scorer,
    embeddings: Tensor,
    plan: ClipPlan,
    labels: Sequence[str],
    *,
    temperature: float = 1.0,
    open_set: bool = False,
) -> EpisodeScores:
    """Classify every query of every episode of a plan by the model's own distance.

    Args:
        model: its ``logits`` decide.
        embeddings: (P, D) from `embed_plan`, or any features of the same clips.
        labels: the split's labels; an episode's ``class_ids`` index them.
        temperature: of the probabilities.
        open_set: score queries of classes that are not in the episode, too.
    Raises:
        UserError: a logit is NaN, or the plan has no episodes.
    """
    if not plan.episodes:
        raise UserError(
            "there are no test episodes; arch.episodes.test_episodes must be at least 1"
        )
    modules = [model] if isinstance(model, nn.Module) else []
    strangers = _strangers(plan) if open_set else None
    logits_EAN, unknown_EU = [], []
    with evaluation_mode(*modules):
        tracked = track(plan.episodes, total=len(plan.episodes), label="test", unit="episodes")
        for number, episode in enumerate(tracked):
            others = None if strangers is None else strangers[number]
            known_AN, unknown_UN = _logits(model, embeddings, episode, others)
            # They stay on the device: one transfer at the end, not one wait per episode.
            logits_EAN.append(known_AN)
            if unknown_UN is not None:
                unknown_EU.append(unknown_UN.amax(1))
        logits = torch.stack(logits_EAN).float().cpu()
    _refuse_nan(logits, plan)
    auroc_E = None
    if unknown_EU:
        auroc_E = open_set_auroc(logits.amax(2), torch.stack(unknown_EU).float().cpu())
    return _scores(plan, logits.numpy(), labels, temperature, auroc_E)


def _refuse_nan(logits_EAN: Tensor, plan: ClipPlan) -> None:
    bad_E = logits_EAN.isnan().any(dim=2).any(dim=1)
    if bad_E.any():
        raise UserError(
            f"the logits of {int(bad_E.sum())} of {len(plan.episodes)} test episodes are NaN "
            f"(first: episode {plan.episodes[int(bad_E.int().argmax())].index}); the weights are "
            "not usable: test an earlier checkpoint, or train with a lower "
            "arch.training.learning_rate"
        )


def _logits(
    model: Scorer, embeddings: Tensor, episode: Episode, others_U: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Logits of an episode's queries, and of queries of other classes where there are any."""
    if others_U is None:
        return episode_logits(model, embeddings, episode), None
    support_NK = episode.support.to(embeddings.device)
    query_A = torch.cat([episode.query.flatten(), others_U]).to(embeddings.device)
    logits = model.logits(embeddings[support_NK], embeddings[query_A])
    return logits[: -len(others_U)], logits[-len(others_U) :]


def _strangers(plan: ClipPlan) -> list[Tensor] | None:
    """For every episode the plan's clips, of its length, of other classes, in equal number.

    They are drawn by the episode's index alone. None where an episode has none.
    """
    class_P = np.full(len(plan.rows), -1)
    for episode in plan.episodes:
        class_P[episode.support.numpy()] = episode.class_ids.numpy()[:, None]
        class_P[episode.query.numpy()] = episode.class_ids.numpy()[:, None]
    n_frames_P = plan.n_frames.numpy()
    pools = []
    for episode in plan.episodes:
        other_P = ~np.isin(class_P, episode.class_ids.numpy())
        pools.append(np.flatnonzero(other_P & (n_frames_P == episode.n_frames)))
    count = min(UNKNOWN, plan.episodes[0].query.numel(), *map(len, pools))
    if count == 0:
        return None
    return [
        torch.from_numpy(
            generator(episode.epoch, episode.index, stream=OPEN_SET).choice(
                pool, count, replace=False
            )
        )
        for episode, pool in zip(plan.episodes, pools, strict=True)
    ]


def episode_logits(model: Scorer, embeddings: Tensor, episode: Episode) -> Tensor:
    """Logits (N*Q, N) of an episode's queries, class-major, from embeddings (P, D)."""
    support_NK = episode.support.to(embeddings.device)
    query_A = episode.query.flatten().to(embeddings.device)
    return model.logits(embeddings[support_NK], embeddings[query_A])


def _scores(
    plan: ClipPlan,
    logits_EAN: np.ndarray,
    labels: Sequence[str],
    temperature: float,
    open_set_E: np.ndarray | None,
) -> EpisodeScores:
    """Lay the logits of every query out beside what was asked."""
    query_ENQ = np.stack([episode.query.numpy() for episode in plan.episodes])
    n_episodes, n_way, n_query = query_ENQ.shape
    way_A = np.tile(np.arange(n_way).repeat(n_query), n_episodes)
    index_E = np.array([episode.index for episode in plan.episodes], dtype=np.int32)
    logits_AN = logits_EAN.reshape(-1, n_way)
    hit_A = logits_AN.argmax(1) == way_A
    return EpisodeScores(
        labels=list(labels),
        accuracy_E=hit_A.reshape(n_episodes, -1).mean(1),
        episode_A=index_E.repeat(n_way * n_query),
        row_A=plan.rows.numpy()[query_ENQ.reshape(-1)],
        way_A=way_A,
        class_EN=np.stack([e.class_ids.numpy() for e in plan.episodes]).astype(np.int32),
        logits_AN=logits_AN,
        temperature=temperature,
        open_set_E=open_set_E,
    )


def tracked_batches(
    plan: ClipPlan, reader: ClipReader, batch_size: int, label: str
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The plan's batches beside a bar that counts clips."""
    count = iter(track(range(len(plan.rows)), total=len(plan.rows), label=label, unit="clips"))
    for batch in clip_batches(plan, reader, batch_size):
        yield batch
        for _ in range(len(batch[0])):
            next(count)
    next(count, None)


def _to(x: Tensor, device: torch.device) -> Tensor:
    """Move to the device; from pinned memory, so that the next clips are cut meanwhile."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
