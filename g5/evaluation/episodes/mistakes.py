"""The most confident mistakes of a test, each beside the support call that it was taken for.

Shapes: A answers, P clips of a plan, D embedding width, K support calls of a class.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from g5.evaluation.episodes.scoring import EpisodeScores
from preprocessing.episodes.plans import ClipPlan

SHOWN = 12  # mistakes of a test
OF_A_PAIR = 2  # of one class taken for another: more would tell the same


@dataclass(frozen=True)
class Mistake:
    """A query that was taken for another class.

    Attributes:
        row: the query's row in the split's table.
        support_row: likewise, the nearest support call of the class it was taken for.
        elsewhere_row: the nearest of all calls of that class from a source other than the query's;
            None where that is the support call, or there is none.
        label, predicted: what it is, and what it was taken for.
        probability: of that answer, calibrated.
        own_probability: of the right answer.
        episode: the episode's index.
    """

    row: int
    support_row: int
    elsewhere_row: int | None
    label: str
    predicted: str
    probability: float
    own_probability: float
    episode: int


def confident_mistakes(
    scores: EpisodeScores,
    plan: ClipPlan,
    z_PD: Tensor,
    events: pd.DataFrame,
    *,
    most: int = SHOWN,
) -> tuple[Mistake, ...]:
    """The wrong answers of the highest probability: a query once, a pair of classes twice at most.

    Args:
        scores: of ``plan``.
        z_PD: embeddings of the plan's clips.
        events: the split's table, whose rows the plan counts.
    """
    answer_A = scores.logits_AN.argmax(1)
    everything = np.arange(len(answer_A))
    chosen_A = scores.probability_AN[everything, answer_A]
    own_A = scores.probability_AN[everything, scores.way_A]
    wrong = np.flatnonzero(answer_A != scores.way_A)
    # Where probabilities are all but 1, the smaller chance of the truth tells them apart.
    order = wrong[np.lexsort((own_A[wrong], -chosen_A[wrong]))]
    found: list[Mistake] = []
    seen: set[int] = set()
    pairs: Counter[tuple[int, int]] = Counter()
    for a in order.tolist():
        row, pair = int(scores.row_A[a]), (int(scores.true_A[a]), int(scores.predicted_A[a]))
        if row in seen or pairs[pair] == OF_A_PAIR:
            continue
        seen.add(row)
        pairs[pair] += 1
        support_row = _nearest_support(plan, z_PD, a, int(answer_A[a]))
        elsewhere_row = _nearest_elsewhere(plan, z_PD, events, row, scores.labels[pair[1]])
        found.append(
            Mistake(
                row=row,
                support_row=support_row,
                elsewhere_row=None if elsewhere_row == support_row else elsewhere_row,
                label=scores.labels[pair[0]],
                predicted=scores.labels[pair[1]],
                probability=float(chosen_A[a]),
                own_probability=float(own_A[a]),
                episode=int(scores.episode_A[a]),
            )
        )
        if len(found) == most:
            break
    return tuple(found)


def _nearest_support(plan: ClipPlan, z_PD: Tensor, answer: int, way: int) -> int:
    """The row of the support call of ``way`` that lies nearest to the query of an answer."""
    at, query = divmod(answer, plan.episodes[0].query.numel())
    episode = plan.episodes[at]
    support_K = episode.support[way].to(z_PD.device)
    z_D = z_PD[int(episode.query.flatten()[query])]
    nearest = (z_PD[support_K] - z_D).square().sum(1).argmin()
    return int(plan.rows[int(support_K[nearest])])


def _nearest_elsewhere(
    plan: ClipPlan, z_PD: Tensor, events: pd.DataFrame, row: int, label: str
) -> int | None:
    """The row of the nearest call of a class that is not from the source of the call ``row``."""
    source_R, label_R = events["source"].to_numpy(str), events["label"].to_numpy(str)
    row_P = plan.rows.numpy()
    other_P = (label_R[row_P] == label) & (source_R[row_P] != source_R[row])
    if not other_P.any():
        return None
    place = np.flatnonzero(other_P)
    z_D = z_PD[int(np.flatnonzero(row_P == row)[0])]
    nearest = (z_PD[torch.from_numpy(place).to(z_PD.device)] - z_D).square().sum(1).argmin()
    return int(row_P[place[int(nearest)]])


@dataclass(frozen=True)
class ClipEmbeddings:
    """The clips of a test and where they lie: rows of the split's table, and embeddings (P, D)."""

    row_P: np.ndarray
    z_PD: np.ndarray

    @classmethod
    def of(cls, plan: ClipPlan, z_PD: Tensor) -> "ClipEmbeddings":
        """Of a plan, each call once: the first of its lengths."""
        row_P, first_P = np.unique(plan.rows.numpy(), return_index=True)
        return cls(row_P, z_PD[first_P].cpu().numpy())
