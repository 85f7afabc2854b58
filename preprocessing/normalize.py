"""Features to zero mean and unit deviation: per clip, per recording or over the training set.

Shapes: B clips, C channels, M mel bands, T frames; W = C * M values of a frame, as front ends give
them; 1 is the axis at which the channels appear.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from g5.common.errors import UserError

MODES = ("none", "sample", "recording", "train")
# A silent recording has no deviation to divide by.
SMALLEST_STD = 1e-3


class Normalize(nn.Module):
    """Subtract a mean, divide by a standard deviation (at least 0.001), part the channels.

    ``sample`` and ``recording`` use one mean and one deviation for all bands of a channel, which
    keeps the spectrum's shape; ``train`` uses those of each band over the training recordings.

    Args:
        mode: none | sample | recording | train.
        n_mels: mel bands.
        channels: of the front end.

    Raises:
        UserError: on another mode.
    """

    mean_M: torch.Tensor
    std_M: torch.Tensor

    def __init__(self, *, mode: str, n_mels: int, channels: int = 1) -> None:
        super().__init__()
        if mode not in MODES:
            raise UserError(f"features.normalize={mode} is none of {', '.join(MODES)}")
        self.mode = mode
        self.channels = channels
        if mode == "train":
            # NaN until fitted: what was never fitted must not pass for fitted.
            self.register_buffer("mean_M", torch.full((channels * n_mels,), torch.nan))
            self.register_buffer("std_M", torch.full((channels * n_mels,), torch.nan))

    def fit(self, mean_M: np.ndarray | torch.Tensor, std_M: np.ndarray | torch.Tensor) -> None:
        """Set each band's mean and deviation (W,), from `features.band_stats`; mode train only."""
        assert self.mode == "train", f"normalize={self.mode} has nothing to fit"
        mean_M, std_M = torch.as_tensor(mean_M), torch.as_tensor(std_M)
        assert mean_M.shape == std_M.shape == self.mean_M.shape
        self.mean_M.copy_(mean_M)
        self.std_M.copy_(std_M)

    def forward(self, x_B1WT: torch.Tensor, stats_B2: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise clips ``(B, 1, W, T) -> (B, C, M, T)``, wherever an encoder takes them.

        ``stats_B2`` is the mean and deviation of each clip's recording, channel by channel
        (B, 2 * C), which mode recording reads; None: each clip is taken for a whole recording.
        """
        x_BCMT = parted(x_B1WT, self.channels)
        if self.mode == "none":
            return x_BCMT
        if self.mode == "train":
            shape = (self.channels, -1, 1)
            mean, std = self.mean_M.view(shape), self.std_M.view(shape)
        else:
            if self.mode == "sample" or stats_B2 is None:
                stats_B2 = scalar_stats(x_B1WT, self.channels)
            stats_BC211 = stats_B2.to(x_BCMT).unflatten(1, (self.channels, 2))[..., None, None]
            mean, std = stats_BC211.unbind(dim=2)
        return (x_BCMT - mean) / std.clamp(min=SMALLEST_STD)


def parted(x_B1WT: torch.Tensor, channels: int) -> torch.Tensor:
    """Frames whose bands lie one channel after the other, channel by channel: (B, C, M, T)."""
    return x_B1WT if channels == 1 else x_B1WT.unflatten(2, (channels, -1)).squeeze(1)


def scalar_stats(x_B1WT: torch.Tensor, channels: int = 1) -> torch.Tensor:
    """Mean and deviation over everything but clips and channels, (B, 2 * C)."""
    x_BCX = parted(x_B1WT, channels).flatten(2)
    var_BC, mean_BC = torch.var_mean(x_BCX, dim=2, correction=0)
    return torch.stack([mean_BC, var_BC.sqrt()], dim=2).flatten(1)


def recording_stats(meta: Mapping[str, Any], channels: int) -> list[float]:
    """What `scalar_stats` would say of a whole recording, from what the store keeps of it."""
    if channels == 1:
        return [float(meta["mean"]), float(meta["std"])]
    mean_CM = np.asarray(meta["band_mean"], dtype=np.float64).reshape(channels, -1)
    std_CM = np.asarray(meta["band_std"], dtype=np.float64).reshape(channels, -1)
    mean_C = mean_CM.mean(axis=1)
    var_C = (std_CM**2 + (mean_CM - mean_C[:, None]) ** 2).mean(axis=1)
    return np.stack([mean_C, np.sqrt(var_C)], axis=1).ravel().tolist()
