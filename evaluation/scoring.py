"""Each clip embedded once, every episode of a plan answered and scored.

Shape suffixes: P clips of a plan, E episodes, B clips of a batch, M mel bands, T frames, N ways,
K shots, Q queries of a class, A answers (all queries of all episodes), D embedding width,
C classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from archs.protonet import ProtoNet
from evaluation.intervals import Interval, mean_interval
from evaluation.metrics import ClassScores, class_scores
from preprocessing.clips import ClipReader
from preprocessing.episodes import ClipPlan, Episode, clip_batches
from preprocessing.errors import UserError
from preprocessing.progress import track


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
        true_A, predicted_A: class ids.
        probability_A: the softmax probability of the predicted class.
    """

    labels: list[str]
    accuracy_E: np.ndarray
    episode_A: np.ndarray
    row_A: np.ndarray
    true_A: np.ndarray
    predicted_A: np.ndarray
    probability_A: np.ndarray
    classes: ClassScores = field(init=False)

    def __post_init__(self) -> None:
        scores = class_scores(self.true_A, self.predicted_A, len(self.labels))
        object.__setattr__(self, "classes", scores)

    @property
    def hit_A(self) -> np.ndarray:
        """(A,) bool: whether the answer is right."""
        return self.true_A == self.predicted_A

    @property
    def interval(self) -> Interval:
        """Mean accuracy over episodes with its 95 % interval."""
        return mean_interval(self.accuracy_E)


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
    model: Scorer, embeddings: Tensor, plan: ClipPlan, labels: Sequence[str]
) -> EpisodeScores:
    """Classify every query of every episode of a plan by the model's own distance.

    Args:
        model: its ``logits`` decide.
        embeddings: (P, D) from `embed_plan`, or any features of the same clips.
        labels: the split's labels; an episode's ``class_ids`` index them.
    Raises:
        UserError: a logit is NaN, or the plan has no episodes.
    """
    if not plan.episodes:
        raise UserError(
            "there are no test episodes; arch.episodes.test_episodes must be at least 1"
        )
    modules = [model] if isinstance(model, nn.Module) else []
    choice_EA, probability_EA = [], []
    with evaluation_mode(*modules):
        tracked = track(plan.episodes, total=len(plan.episodes), label="test", unit="episodes")
        for episode in tracked:
            logits_AN = episode_logits(model, embeddings, episode)
            # They stay on the device: one transfer at the end, not one wait per episode.
            choice_EA.append(logits_AN.argmax(1))
            probability_EA.append(logits_AN.softmax(1).amax(1))
        choices = torch.stack(choice_EA).cpu().numpy()
        probabilities = torch.stack(probability_EA).cpu().numpy()
    bad_E = np.isnan(probabilities.max(axis=1))
    if bad_E.any():
        raise UserError(
            f"the logits of {bad_E.sum()} of {len(plan.episodes)} test episodes are NaN (first: "
            f"episode {plan.episodes[int(bad_E.argmax())].index}); the weights are not usable: "
            "test an earlier checkpoint, or train with a lower arch.training.learning_rate"
        )
    return _scores(plan, choices, probabilities, labels)


def episode_logits(model: Scorer, embeddings: Tensor, episode: Episode) -> Tensor:
    """Logits (N*Q, N) of an episode's queries, class-major, from embeddings (P, D)."""
    support_NK = episode.support.to(embeddings.device)
    query_A = episode.query.flatten().to(embeddings.device)
    return model.logits(embeddings[support_NK], embeddings[query_A])


def _scores(
    plan: ClipPlan, choice_EA: np.ndarray, probability_EA: np.ndarray, labels: Sequence[str]
) -> EpisodeScores:
    """Turn the chosen ways of every query into class ids and accuracies."""
    class_EN = np.stack([episode.class_ids.numpy() for episode in plan.episodes])
    query_ENQ = np.stack([episode.query.numpy() for episode in plan.episodes])
    n_query = query_ENQ.shape[2]
    true_EA = class_EN.repeat(n_query, axis=1)
    predicted_EA = np.take_along_axis(class_EN, choice_EA, axis=1)
    index_E = np.array([episode.index for episode in plan.episodes], dtype=np.int32)
    return EpisodeScores(
        labels=list(labels),
        accuracy_E=(true_EA == predicted_EA).mean(1),
        episode_A=index_E.repeat(true_EA.shape[1]),
        row_A=plan.rows.numpy()[query_ENQ.reshape(-1)],
        true_A=true_EA.reshape(-1).astype(np.int32),
        predicted_A=predicted_EA.reshape(-1).astype(np.int32),
        probability_A=probability_EA.reshape(-1).astype(np.float32),
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
