"""Remixes: new kinds of sound out of invented species, in mel power, for the price of an index.

A kind may be a species backwards, two species that always sound together, or one that is sung
higher, lower, faster or slower than its tracks are; individuals of a kind differ in that, too, by
as much as is drawn for the kind. So there are far more kinds, narrow and wide, than species that
can be made meanwhile.

Every draw is from torch's global generator. Shapes: S species, I individuals of each, N takes of
each, B = S * I * N clips, M mel bands, T frames.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LEVEL_DB = 10.0  # two that sound together differ by up to this
SILENT = 1e-20


@dataclass(frozen=True)
class RemixSettings:
    """What may become of a species; see `pretrain.remix` in conf/pretrain.yaml."""

    reversed: float  # share of kinds
    joined: float  # share of kinds
    bands: float  # a kind is moved by up to so many mel bands
    tempo_oct: float  # and is slower or faster by up to this
    individual_bands: float  # standard deviation between individuals of the widest kinds
    individual_oct: float


def remixed(
    settings: RemixSettings, track_BMT: Tensor, other_BMT: Tensor, *, species: int, takes: int
) -> Tensor:
    """Tracks (B, M, T) as kinds; ``other_BMT`` are tracks of other species in the same order."""
    s, clips = settings, len(track_BMT)
    per_species, individuals = clips // species, clips // takes

    def of_species(low: float, high: float) -> Tensor:
        return torch.empty(species).uniform_(low, high).repeat_interleave(per_species)

    def of_individual(deviation: float, width_B: Tensor) -> Tensor:
        return width_B * deviation * torch.randn(individuals).repeat_interleave(takes)

    width_B = of_species(0.0, 1.0)
    joined_B = of_species(0.0, 1.0) < s.joined
    level_B = 10 ** (of_species(-LEVEL_DB, LEVEL_DB) / 10) * joined_B
    loudest = [x_BMT.amax((1, 2)).clamp(min=SILENT) for x_BMT in (track_BMT, other_BMT)]
    ratio_B = level_B.to(track_BMT) * loudest[0] / loudest[1]
    both_BMT = track_BMT + ratio_B[:, None, None] * other_BMT
    moved_B = of_species(-s.bands, s.bands) + of_individual(s.individual_bands, width_B)
    tempo_B = of_species(-s.tempo_oct, s.tempo_oct) + of_individual(s.individual_oct, width_B)
    reversed_B = of_species(0.0, 1.0) < s.reversed
    bands, frames = track_BMT.shape[1:]
    from_BM = torch.arange(bands) - moved_B.round()[:, None]
    from_BT = torch.arange(frames) * 2 ** tempo_B[:, None]
    from_BT = torch.where(reversed_B[:, None], frames - 1 - from_BT, from_BT).round()
    inside_BM = (from_BM >= 0) & (from_BM < bands)
    inside_BT = (from_BT >= 0) & (from_BT < frames)
    at_BM = from_BM.clamp(0, bands - 1).long()
    at_BT = from_BT.clamp(0, frames - 1).long()
    clip_B = torch.arange(clips)[:, None, None]
    moved_BMT = both_BMT[clip_B, at_BM[:, :, None], at_BT[:, None, :]]
    inside_BMT = inside_BM[:, :, None] & inside_BT[:, None, :]
    return moved_BMT * inside_BMT.to(track_BMT)
