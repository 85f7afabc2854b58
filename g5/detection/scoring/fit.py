"""What the support says at one scale: prototypes made of it, and scores by them.

Shapes: N windows, K shots, O windows of a shot, G windows of the gaps, D embedding width, C
calls of other species and marks of what is no call.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from g5.detection.embedding.embedder import Band, Piece, WindowEmbedder
from g5.detection.embedding.windows import Scale
from g5.detection.scoring.adapt import WindowScorer, adapted
from g5.detection.scoring.finetune import finetuned
from g5.detection.scoring.prototypes import clusters, refined
from g5.detection.scoring.scorer import cross_scored
from g5.training.fit import StepBudget

# Windows that are scored at once: a night's are never in memory together.
ROWS = 2048


@dataclass(frozen=True)
class FitSettings:
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
class SupportWindows:
    """Where the support's windows of one scale are.

    Attributes:
        shots: the centred window of each shot in the middle, others around it.
        rivals: a window of each call of another species, and of each mark of what is no call.
        gaps: windows in the gaps, in order of time.
        at_G: when those are, seconds; recordings lie far apart.
    """

    scale: Scale
    band: Band | None
    shots: list[Piece]
    rivals: list[Piece]
    gaps: list[Piece]
    at_G: np.ndarray

    def embedded_by(self, embedder: WindowEmbedder) -> "SupportEmbeddings":
        """Its embeddings, in one go: the encoder's batches have one size, and are best full."""
        pieces = [*self.shots, *self.rivals, *self.gaps]
        parts = embedder.cut(pieces, self.scale.width, self.band)
        count, empty = len(self.shots), torch.zeros(0, embedder.model.embedding_dim)
        return SupportEmbeddings(
            torch.stack(parts[:count]),
            torch.cat([empty, *parts[count + len(self.rivals) :]]),
            torch.cat([empty, *parts[count : count + len(self.rivals)]]),
        )

    def inputs(self, embedder: WindowEmbedder, pieces: list[Piece]) -> Tensor:
        """Some of the windows as the encoder takes them."""
        return embedder.windows(pieces, self.scale.width, self.band)


@dataclass(frozen=True)
class SupportEmbeddings:
    """The embeddings of a `SupportWindows`."""

    z_KOD: Tensor
    gaps_GD: Tensor
    rivals_CD: Tensor

    @property
    def middle_KD(self) -> Tensor:
        return self.z_KOD[:, self.z_KOD.shape[1] // 2]


@dataclass(frozen=True)
class SubsetFit:
    """What some of the shots and gaps make: an encoder, the support by it, and what scores."""

    embedder: WindowEmbedder
    embedded: SupportEmbeddings
    scorer: WindowScorer


class Fit:
    """Prototypes of one species at one scale, and what they say of embeddings.

    Attributes:
        steps: of its trainings: whether time has cut them.
        positive_K: of each shot, the best score around it by what the others say.
        negative_G: scores of the gaps by models of the others.
        rival_C: scores of the rivals by models of the others.
    """

    def __init__(
        self,
        settings: FitSettings,
        embedder: WindowEmbedder,
        windows: SupportWindows,
        unlabelled_ND: Tensor | None,
    ) -> None:
        self.settings = settings
        self.steps = StepBudget(settings.steps, settings.max_s)
        self.windows = windows
        self.embedder = embedder
        self.embedded = windows.embedded_by(embedder)
        self.unlabelled_ND = unlabelled_ND
        self.shots, self.gaps, self.rivals = (
            np.arange(len(x)) for x in (windows.shots, windows.at_G, windows.rivals)
        )
        self.all = self.part(self.shots, self.gaps, self.rivals)
        self.positive_K = np.array([self._left_out(k) for k in range(len(self.shots))])
        self.negative_G = cross_scored(len(self.gaps), self._of_gaps)
        self.rival_C = cross_scored(len(self.rivals), self._of_rivals)

    def part(self, shots: np.ndarray, gaps: np.ndarray, rivals: np.ndarray) -> SubsetFit:
        """The model of these shots, gaps and rivals alone."""
        settings, embedder, embedded = self.settings, self.embedder, self.embedded
        if settings.adapt == "finetune":
            embedder = self._finetuned(shots, gaps, rivals)
            embedded = self.windows.embedded_by(embedder)
        negative_GD, rival_CD = embedded.gaps_GD[gaps], embedded.rivals_CD[rivals]
        negative_CD = torch.cat([clusters(negative_GD, settings.negative_prototypes), rival_CD])
        positive_D = embedded.middle_KD[shots].mean(dim=0)
        if self.unlabelled_ND is not None:
            positive_D = refined(
                positive_D, negative_CD, self.unlabelled_ND, steps=settings.steps, temperature=0.1,
                weight=settings.weight,
            )  # fmt: skip
        scorer = adapted(
            settings.adapt, embedder.model, positive_D, negative_CD,
            embedded.z_KOD[shots].flatten(0, 1),
            torch.cat([negative_GD, rival_CD]), steps=self.steps, rate=settings.rate,
            seed=settings.seed,
        )  # fmt: skip
        return SubsetFit(embedder, embedded, scorer)

    def _finetuned(self, shots: np.ndarray, gaps: np.ndarray, rivals: np.ndarray) -> WindowEmbedder:
        embedded, windows, embedder = self.embedded, self.windows, self.embedder
        shots_P1MT = windows.inputs(embedder, [windows.shots[k] for k in shots])
        gaps_G1MT = windows.inputs(embedder, windows.gaps)[gaps]
        rivals_C1MT = windows.inputs(embedder, windows.rivals)[rivals]
        gaps_GD, rivals_CD = embedded.gaps_GD[gaps], embedded.rivals_CD[rivals]
        centre_CD = torch.cat([clusters(gaps_GD, self.settings.negative_prototypes), rivals_CD])
        negatives_GD = torch.cat([gaps_GD, rivals_CD])
        return finetuned(
            embedder, shots_P1MT, torch.cat([gaps_G1MT, rivals_C1MT]),
            torch.cdist(negatives_GD, centre_CD).argmin(dim=1),
            steps=self.steps, rate=self.settings.block_rate, seed=self.settings.seed,
        )  # fmt: skip

    def _left_out(self, shot: int) -> float:
        others = self.shots[self.shots != shot] if len(self.shots) > 1 else self.shots
        part = self.part(others, self.gaps, self.rivals)
        return float(part.scorer.score(part.embedded.z_KOD[shot]).max())

    def _of_gaps(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        part = self.part(self.shots, train, self.rivals)
        return part.scorer.score(part.embedded.gaps_GD[test]).numpy()

    def _of_rivals(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        # A single one is scored by the gaps alone.
        part = self.part(self.shots, self.gaps, np.setdiff1d(train, test))
        return part.scorer.score(part.embedded.rivals_CD[test]).numpy()

    @torch.inference_mode()
    def scores(self, grid_ND: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score, distance to the prototype and nearest shot of every window, (N,) each."""
        count, scorer, middle_KD = len(grid_ND), self.all.scorer, self.all.embedded.middle_KD
        # Made beforehand: what is kept between large blocks would keep their memory from reuse.
        score_N, distance_N = np.empty(count), np.empty(count, np.float32)
        nearest_N = np.empty(count, np.int32)
        for first in range(0, count, ROWS):
            rows = slice(first, first + ROWS)
            z_ND = grid_ND[rows].float()
            score_N[rows] = scorer.score(z_ND).numpy()
            distance_N[rows] = (z_ND - scorer.positive_D).norm(dim=1).numpy()
            nearest_N[rows] = torch.cdist(z_ND, middle_KD).argmin(dim=1).numpy()
        return score_N, distance_N, nearest_N
