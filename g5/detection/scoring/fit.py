"""What the support says at one scale: prototypes made of it, and scores by them.

Shapes: N windows, K shots, O windows of a shot, G windows of the gaps, D embedding width, C
calls of other species and marks of what is no call.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from archs.protonet import ProtoNet
from g5.detection.embedding.embedder import Band, Piece, WindowEmbedder
from g5.detection.embedding.windows import Scale
from g5.detection.scoring.prototypes import Prototypes, clusters, compared
from g5.detection.scoring.scorer import cross_scored

# Windows that are scored at once: a night's are never in memory together.
ROWS = 2048
# A share of the gaps that may be unmarked calls.
FEW = 0.5
# How much farther apart two kinds of shots are than those of a kind.
KINDS_APART = 2.0


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


@dataclass(frozen=True)
class SupportEmbeddings:
    """The embeddings of a `SupportWindows`."""

    z_KOD: Tensor
    gaps_GD: Tensor
    rivals_CD: Tensor

    @property
    def middle_KD(self) -> Tensor:
        return self.z_KOD[:, self.z_KOD.shape[1] // 2]


def unlike_shots(
    embedded: SupportEmbeddings, model: ProtoNet, at_G: np.ndarray, reach_s: float
) -> np.ndarray:
    """Which windows of the gaps, (G',), are no call that nobody has marked, and touch none.

    Those resemble a shot as much as the shot that is least like the others does. Where that is
    true of most, the shots resemble everything, and none is.
    """
    shots_KD = embedded.middle_KD
    among_KK = compared(model, shots_KD, shots_KD).clone()
    among_KK[range(len(shots_KD)), range(len(shots_KD))] = -torch.inf
    gaps_G = compared(model, shots_KD, embedded.gaps_GD).amax(dim=1)
    at = at_G[(gaps_G >= among_KK.amax(dim=1).min()).numpy()]
    near = [bool((np.abs(at - when) < reach_s).any()) for when in at_G.tolist()]
    few = sum(near) < FEW * len(near)
    return np.array([i for i, touches in enumerate(near) if not (few and touches)], dtype=int)


def second_kind(embedded: SupportEmbeddings, model: ProtoNet) -> tuple[int, ...]:
    """The shots of the smaller of two kinds, where there are two that are far apart; else none.

    Two kinds have two shots or more each, and no shot of one is as near to the other as twice the
    farthest two of a kind are (squared distances, complete linkage).
    """
    shots_KD = embedded.middle_KD
    if len(shots_KD) < 4:
        return ()
    away_KK = -compared(model, shots_KD, shots_KD).double().numpy()
    away_KK = (away_KK + away_KK.T) / 2
    away_KK -= np.diag(away_KK).mean()
    np.fill_diagonal(away_KK, 0)
    pairs = squareform(np.maximum(away_KK, 0), checks=False)
    other_K = fcluster(linkage(pairs, "complete"), 2, "maxclust") == 2
    if min(other_K.sum(), (~other_K).sum()) < 2:
        return ()
    within = max(away_KK[other_K][:, other_K].max(), away_KK[~other_K][:, ~other_K].max())
    if away_KK[other_K][:, ~other_K].min() < KINDS_APART * within:
        return ()
    return tuple(
        np.flatnonzero(other_K if other_K.sum() * 2 <= len(other_K) else ~other_K).tolist()
    )


class Fit:
    """Prototypes of one species at one scale, and what they say of embeddings.

    Args:
        windows: of the support.
        embedded: those.
        model: compares them.
        negative_prototypes: clusters that the gaps are summed up by.

    Attributes:
        positive_K: of each shot, the best score around it by what the others say.
        negative_G: scores of the gaps by prototypes of the others.
        rival_C: scores of the rivals by prototypes of the others.
    """

    def __init__(
        self, windows: SupportWindows, embedded: SupportEmbeddings, model: ProtoNet,
        negative_prototypes: int,
    ) -> None:  # fmt: skip
        self.windows, self.embedded = windows, embedded
        self._model, self._clusters = model, negative_prototypes
        self._shots = np.arange(len(embedded.z_KOD))
        self._rivals = np.arange(len(embedded.rivals_CD))
        gaps = np.arange(len(embedded.gaps_GD))
        self._gaps_CD = clusters(embedded.gaps_GD, negative_prototypes)
        self.all = self._part(self._shots, self._gaps_CD, self._rivals)
        self.positive_K = np.array([self._left_out(k) for k in range(len(self._shots))])
        self.negative_G = cross_scored(len(gaps), self._of_gaps)
        self.rival_C = cross_scored(len(self._rivals), self._of_rivals)

    def _part(self, shots: np.ndarray, gaps_CD: Tensor, rivals: np.ndarray) -> Prototypes:
        """Of these shots and rivals alone."""
        negative_CD = torch.cat([gaps_CD, self.embedded.rivals_CD[rivals]])
        return Prototypes(self.embedded.middle_KD[shots], negative_CD, self._model)

    def _left_out(self, shot: int) -> float:
        others = self._shots[self._shots != shot] if len(self._shots) > 1 else self._shots
        part = self._part(others, self._gaps_CD, self._rivals)
        return float(part.score(self.embedded.z_KOD[shot]).max())

    def _of_gaps(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        gaps_CD = clusters(self.embedded.gaps_GD[train], self._clusters)
        part = self._part(self._shots, gaps_CD, self._rivals)
        return part.score(self.embedded.gaps_GD[test]).numpy()

    def _of_rivals(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        # A single one is scored by the gaps alone.
        part = self._part(self._shots, self._gaps_CD, np.setdiff1d(train, test))
        return part.score(self.embedded.rivals_CD[test]).numpy()

    @torch.inference_mode()
    def scores(self, grid_ND: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score, distance to the nearest shot, and which that is, of every window, (N,) each."""
        count, middle_KD = len(grid_ND), self.embedded.middle_KD
        # Made beforehand: what is kept between large blocks would keep their memory from reuse.
        score_N, distance_N = np.empty(count), np.empty(count, np.float32)
        nearest_N = np.empty(count, np.int32)
        for first in range(0, count, ROWS):
            rows = slice(first, first + ROWS)
            z_ND = grid_ND[rows].float()
            score_N[rows] = self.all.score(z_ND).numpy()
            near = torch.cdist(z_ND, middle_KD).min(dim=1)
            distance_N[rows], nearest_N[rows] = near.values.numpy(), near.indices.numpy()
        return score_N, distance_N, nearest_N
