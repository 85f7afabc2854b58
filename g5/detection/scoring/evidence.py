"""What a support says of an encoder: how far apart it keeps the shots and what lies between them.

Shapes: K shots, G windows of the gaps, D embedding width, C clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from archs.prototypes import unit
from g5.detection.embedding.embedder import Piece, WindowEmbedder
from g5.detection.scoring.prototypes import clusters
from g5.detection.scoring.scorer import cross_scored
from g5.detection.support import Target

# Windows of the gaps that are looked at, and the clusters that sum them up.
GAPS, CLUSTERS = 64, 4


@dataclass(frozen=True)
class Evidence:
    """Scores of a species' shots, each by the others, and of the gaps, each half by the other.

    Attributes:
        apart: the difference of their means, in deviations (d').
        share: the weight of such scores beside those of other encoders, as a linear discriminant
            with independent scores has it.
    """

    apart: float
    share: float

    @classmethod
    def of(cls, embedder: WindowEmbedder, target: Target) -> "Evidence | None":
        """Embed the support; None where there are not two shots and two windows of gaps."""
        rate_hz = target.shots[0].sound.frame_rate_hz
        width = max(1, round(float(np.median(target.duration_K)) * rate_hz))
        gaps = _gaps(target, width)
        if len(target.shots) < 2 or sum(len(starts) for _, starts in gaps) < 2:
            return None
        shots: list[Piece] = [
            (shot.sound, np.array([round(shot.middle_frame - (width - 1) / 2)]))
            for shot in target.shots
        ]
        parts = embedder.cut([*shots, *gaps], width, target.band(embedder.front_end))
        z_KD, z_GD = unit(torch.cat(parts[: len(shots)])), unit(torch.cat(parts[len(shots) :]))
        away_CD, mean_D = clusters(z_GD, CLUSTERS), z_KD.mean(dim=0)
        positive_K = np.array([
            float(_score(z_D[None], (z_KD.sum(dim=0) - z_D) / (len(z_KD) - 1), away_CD))
            for z_D in z_KD
        ])  # fmt: skip
        negative_G = cross_scored(
            len(z_GD),
            lambda train, test: _score(z_GD[test], mean_D, clusters(z_GD[train], CLUSTERS)).numpy(),
        )
        between = float(positive_K.mean() - negative_G.mean())
        variance = float(positive_K.var() + negative_G.var()) / 2 + 1e-9
        return cls(between / variance**0.5, max(between, 0.0) / variance)


def shares(embedders: Sequence[WindowEmbedder], targets: Sequence[Target]) -> np.ndarray:
    """The encoders' shares in a squared distance, the mean over the species; (P,), sum 1."""
    found = []
    for target in targets:
        each = [Evidence.of(embedder, target) for embedder in embedders]
        share_P = np.array([1.0 if one is None else one.share for one in each])
        found.append(share_P / share_P.sum() if share_P.sum() else np.ones(len(each)) / len(each))
    return np.mean(found, axis=0)


def _score(z_ND: Tensor, positive_D: Tensor, away_CD: Tensor) -> Tensor:
    """How much nearer to the shots than to the nearest of what they are not, (N,)."""
    away_N = torch.cdist(z_ND, away_CD).square().amin(dim=1)
    return away_N - (z_ND - positive_D).square().sum(dim=1)


def _gaps(target: Target, width: int) -> list[Piece]:
    """First frames of some windows between the shots."""
    found: list[Piece] = []
    for sound, a, b in target.gaps():
        first, last = a * sound.frame_rate_hz, b * sound.frame_rate_hz - width
        if last >= first:
            found.append((sound, np.ceil(np.arange(first, last + 1, width)).astype(np.int64)))
    total = sum(len(starts) for _, starts in found)
    keep = max(1, -(-total // GAPS))
    return [(sound, starts[::keep]) for sound, starts in found]
