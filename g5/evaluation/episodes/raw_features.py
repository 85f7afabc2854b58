"""The raw-feature baseline: the same episodes by nearest prototype on plain spectrogram statistics.

A trained encoder is worth something only above this row. Raw features of a clip are the mean and
the standard deviation over time of its log-mel bands, ``2 * n_mels`` numbers; a query goes to the
class whose prototype (mean of the support) is nearest by squared Euclidean distance.

Shape suffixes: P clips of a plan, B clips of a batch, M mel bands, T frames, F features (2M),
N ways, K shots, A queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archs.prototypes import prototypes, squared_euclidean
from g5.evaluation.episodes.scoring import EpisodeScores, evaluate_episodes, tracked_batches
from g5.evaluation.intervals import Interval
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan
from preprocessing.normalize import SMALLEST_STD, Normalize


@dataclass(frozen=True)
class RawScores:
    """One raw-feature row: how the features were scaled, and how the episodes went."""

    name: str
    scores: EpisodeScores

    @property
    def interval(self) -> Interval:
        return self.scores.interval


@dataclass(frozen=True)
class RawStatistics:
    """Mean and standard deviation of each raw feature over the training clips, (F,) float64.

    A checkpoint carries them, so that a test on other data z-scores by what it was trained on.
    """

    mean_F: Tensor
    std_F: Tensor

    def plain(self) -> dict[str, Tensor]:
        """As a checkpoint holds them; ``RawStatistics(**plain)`` is the way back."""
        return {"mean_F": self.mean_F, "std_F": self.std_F}


class NearestPrototype:
    """Minus the squared Euclidean distance to the mean of a class's support."""

    def logits(self, support_NKD: Tensor, query_QD: Tensor) -> Tensor:
        return -squared_euclidean(query_QD, prototypes(support_NKD))


def raw_feature_scores(
    plan: ClipPlan,
    reader: ClipReader,
    labels: Sequence[str],
    *,
    statistics: RawStatistics | None,
    batch_size: int,
) -> list[RawScores]:
    """Classify a plan's episodes on raw features, scaled in up to three ways.

    Args:
        plan: the very plan that the encoder is tested on.
        reader: of the test clips, not normalised; log-mel in dB.
        labels: of the test split.
        statistics: of the training clips, for z-scores; None leaves that row out.
    Returns:
        Rows ``unnormalised``, ``per-sample normalised`` (by the clip's scalar mean and standard
        deviation) and, with ``statistics``, ``z-scored + L2`` (each feature by its mean and
        standard deviation over the training clips, then the vector to unit length).
    """
    raw_PF, sample_PF = raw_features(plan, reader, batch_size=batch_size)
    variants = {"unnormalised": raw_PF, "per-sample normalised": sample_PF}
    if statistics is not None:
        variants["z-scored + L2"] = z_scored(raw_PF, statistics)
    return [
        RawScores(name, evaluate_episodes(NearestPrototype(), features_PF, plan, labels))
        for name, features_PF in variants.items()
    ]


def raw_features(plan: ClipPlan, reader: ClipReader, *, batch_size: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over time of each band, for every clip of a plan.

    Returns:
        (P, 2M) float32 of the clips as they are, and the same of the clips after subtraction of
        their scalar mean and division by their scalar standard deviation.
    """
    raw_PF, sample_PF = None, None
    per_sample = Normalize(mode="sample", n_mels=reader.n_mels)
    for position_B, x_B1MT, stats_B2 in tracked_batches(plan, reader, batch_size, "raw features"):
        raw_BF = time_statistics(x_B1MT)
        sample_BF = time_statistics(per_sample(x_B1MT, stats_B2))
        if raw_PF is None or sample_PF is None:
            shape = (len(plan.rows), raw_BF.shape[1])
            raw_PF, sample_PF = torch.empty(shape), torch.empty(shape)
        raw_PF[position_B], sample_PF[position_B] = raw_BF, sample_BF
    assert raw_PF is not None, "a plan has clips"
    assert sample_PF is not None
    return raw_PF, sample_PF


def time_statistics(x_B1MT: Tensor) -> Tensor:
    """(B, 2M): the bands' means over time, then their standard deviations (population)."""
    std_BM, mean_BM = torch.std_mean(x_B1MT.squeeze(1), dim=2, correction=0)
    return torch.cat([mean_BM, std_BM], dim=1)


def training_statistics(reader: ClipReader, *, batch_size: int) -> RawStatistics:
    """The raw features' statistics over every clip of ``reader``, the training split's.

    Clips of adaptive length are taken at the middle one of the lengths there are.
    """
    n_frames = reader.lengths[len(reader.lengths) // 2]
    plan = ClipPlan(torch.arange(len(reader)), torch.full((len(reader),), n_frames), [])
    raw_PF, _ = raw_features(plan, reader, batch_size=batch_size)
    std_F, mean_F = torch.std_mean(raw_PF.double(), dim=0, correction=0)
    return RawStatistics(mean_F, std_F)


def z_scored(features_PF: Tensor, statistics: RawStatistics) -> Tensor:
    """Each feature standardised by the training clips, then each clip to unit length.

    A feature that is constant over the training clips (a band above their Nyquist frequency) is
    only centred, as scikit-learn's ``StandardScaler`` does.
    """
    std_F = torch.where(statistics.std_F > SMALLEST_STD, statistics.std_F, 1.0)
    z_PF = (features_PF.double() - statistics.mean_F) / std_F
    return torch.nn.functional.normalize(z_PF, dim=1).float()
