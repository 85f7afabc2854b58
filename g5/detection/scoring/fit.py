"""What the support says at one scale: prototypes made of it, and scores by them.

Shapes: N windows, K shots, O windows of a shot, G windows of the gaps, D embedding width, C
prototypes of other species' calls.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from g5.detection.embedding.embedder import Band, Embedder, Piece
from g5.detection.embedding.windows import Scale
from g5.detection.scoring.adapt import Space, adapted
from g5.detection.scoring.finetune import finetuned
from g5.detection.scoring.prototypes import clusters, refined
from g5.detection.scoring.scorer import cross_scored
from g5.training.fit import StepBudget

# Windows that are scored at once: a night's are never in memory together.
ROWS = 2048


@dataclass(frozen=True)
class How:
    """The settings of a fit, as `PrototypeScorer` explains them."""

    adapt: str
    negative_prototypes: int
    steps: int
    rate: float
    block_rate: float
    weight: float
    seed: int
    max_s: float


@dataclass(frozen=True)
class Marked:
    """Where the support's windows of one scale are.

    Attributes:
        shots: the centred window of each shot in the middle, others around it.
        others: a window of each call of another species.
        gaps: windows in the gaps, in order of time.
        at_G: when those are, seconds; recordings lie far apart.
    """

    scale: Scale
    band: Band | None
    shots: list[Piece]
    others: list[Piece]
    gaps: list[Piece]
    at_G: np.ndarray

    def seen_by(self, embedder: Embedder) -> "View":
        """Its embeddings, in one go: the encoder's batches have one size, and are best full."""
        pieces = [*self.shots, *self.others, *self.gaps]
        parts = embedder.cut(pieces, self.scale.width, self.band)
        count, empty = len(self.shots), torch.zeros(0, embedder.model.embedding_dim)
        return View(
            torch.stack(parts[:count]),
            torch.cat([empty, *parts[count + len(self.others) :]]),
            torch.cat([empty, *parts[count : count + len(self.others)]]),
        )

    def windows(self, embedder: Embedder, pieces: list[Piece]) -> Tensor:
        """Some of the windows as the encoder takes them."""
        return embedder.windows(pieces, self.scale.width, self.band)


@dataclass(frozen=True)
class View:
    """The embeddings of a `Marked`."""

    z_KOD: Tensor
    gaps_GD: Tensor
    others_CD: Tensor

    @property
    def middle_KD(self) -> Tensor:
        return self.z_KOD[:, self.z_KOD.shape[1] // 2]


@dataclass(frozen=True)
class Part:
    """What some of the shots and gaps make: an encoder, the support by it, and what scores."""

    embedder: Embedder
    view: View
    space: Space


class Fit:
    """Prototypes of one species at one scale, and what they say of embeddings.

    Attributes:
        steps: of its trainings: whether time has cut them.
        positive_K: of each shot, the best score around it by what the others say.
        negative_G: scores of the gaps by models of the others.
    """

    def __init__(
        self, how: How, embedder: Embedder, marked: Marked, unlabelled_ND: Tensor | None
    ) -> None:
        self.how = how
        self.steps = StepBudget(how.steps, how.max_s)
        self.marked = marked
        self.embedder = embedder
        self.plain = marked.seen_by(embedder)
        self.unlabelled_ND = unlabelled_ND
        self.n_shots, self.n_gaps = len(marked.shots), len(marked.at_G)
        self.all = self.part(list(range(self.n_shots)), np.arange(self.n_gaps))
        self.positive_K = np.array([self._left_out(k) for k in range(self.n_shots)])
        self.negative_G = cross_scored(self.n_gaps, self._negative)

    def part(self, shots: list[int], gaps: np.ndarray) -> Part:
        """The model of these shots and gaps alone."""
        how, gap_rows = self.how, torch.from_numpy(gaps)
        embedder, view = self.embedder, self.plain
        if how.adapt == "finetune":
            embedder = self._finetuned(shots, gap_rows)
            view = self.marked.seen_by(embedder)
        negative_GD = view.gaps_GD[gap_rows]
        negative_CD = torch.cat([clusters(negative_GD, how.negative_prototypes), view.others_CD])
        positive_D = view.middle_KD[shots].mean(dim=0)
        if self.unlabelled_ND is not None:
            positive_D = refined(
                positive_D, negative_CD, self.unlabelled_ND, steps=how.steps, temperature=0.1,
                weight=how.weight,
            )  # fmt: skip
        space = adapted(
            how.adapt, embedder.model, positive_D, negative_CD, view.z_KOD[shots].flatten(0, 1),
            torch.cat([negative_GD, view.others_CD]), steps=self.steps, rate=how.rate,
            seed=how.seed,
        )  # fmt: skip
        return Part(embedder, view, space)

    def _finetuned(self, shots: list[int], gap_rows: Tensor) -> Embedder:
        view, marked, embedder = self.plain, self.marked, self.embedder
        shots_P1MT = marked.windows(embedder, [marked.shots[k] for k in shots])
        gaps_G1MT = marked.windows(embedder, marked.gaps)[gap_rows]
        others_G1MT = marked.windows(embedder, marked.others)
        gaps_GD = view.gaps_GD[gap_rows]
        centre_CD = torch.cat([clusters(gaps_GD, self.how.negative_prototypes), view.others_CD])
        negatives_GD = torch.cat([gaps_GD, view.others_CD])
        return finetuned(
            embedder, shots_P1MT, torch.cat([gaps_G1MT, others_G1MT]),
            torch.cdist(negatives_GD, centre_CD).argmin(dim=1),
            steps=self.steps, rate=self.how.block_rate, seed=self.how.seed,
        )  # fmt: skip

    def _left_out(self, shot: int) -> float:
        others = [k for k in range(self.n_shots) if k != shot] or [shot]
        part = self.part(others, np.arange(self.n_gaps))
        return float(part.space.score(part.view.z_KOD[shot]).max())

    def _negative(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        part = self.part(list(range(self.n_shots)), train)
        return part.space.score(part.view.gaps_GD[torch.from_numpy(test)]).numpy()

    @torch.inference_mode()
    def scores(self, grid_ND: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score, distance to the prototype and nearest shot of every window, (N,) each."""
        count, space, middle_KD = len(grid_ND), self.all.space, self.all.view.middle_KD
        # Made beforehand: what is kept between large blocks would keep their memory from reuse.
        score_N, distance_N = np.empty(count), np.empty(count, np.float32)
        nearest_N = np.empty(count, np.int32)
        for first in range(0, count, ROWS):
            rows = slice(first, first + ROWS)
            z_ND = grid_ND[rows].float()
            score_N[rows] = space.score(z_ND).numpy()
            distance_N[rows] = (z_ND - space.positive_D).norm(dim=1).numpy()
            nearest_N[rows] = torch.cdist(z_ND, middle_KD).argmin(dim=1).numpy()
        return score_N, distance_N, nearest_N
