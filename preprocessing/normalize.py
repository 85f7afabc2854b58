"""Features to zero mean and unit deviation: per clip, per recording or over the training set.

Shapes: B clips, M mel bands, T frames; 1 is the channel that the encoders expect.
"""

import numpy as np
import torch
from torch import nn

from g5.common.errors import UserError

MODES = ("none", "sample", "recording", "train")
# A silent recording has no deviation to divide by.
SMALLEST_STD = 1e-3


class Normalize(nn.Module):
    """Subtract a mean, divide by a standard deviation (at least 0.001).

    ``sample`` and ``recording`` use one mean and one deviation for all bands, which keeps the
    spectrum's shape; ``train`` uses those of each band over the training recordings.

    Args:
        mode: none | sample | recording | train.
        n_mels: mel bands.

    Raises:
        UserError: on another mode.
    """

    mean_M: torch.Tensor
    std_M: torch.Tensor

    def __init__(self, *, mode: str, n_mels: int) -> None:
        super().__init__()
        if mode not in MODES:
            raise UserError(f"features.normalize={mode} is none of {', '.join(MODES)}")
        self.mode = mode
        if mode == "train":
            # NaN until fitted: what was never fitted must not pass for fitted.
            self.register_buffer("mean_M", torch.full((n_mels,), torch.nan))
            self.register_buffer("std_M", torch.full((n_mels,), torch.nan))

    def fit(self, mean_M: np.ndarray | torch.Tensor, std_M: np.ndarray | torch.Tensor) -> None:
        """Set each band's mean and deviation (M,), from `features.band_stats`; mode train only."""
        assert self.mode == "train", f"normalize={self.mode} has nothing to fit"
        mean_M, std_M = torch.as_tensor(mean_M), torch.as_tensor(std_M)
        assert mean_M.shape == std_M.shape == self.mean_M.shape
        self.mean_M.copy_(mean_M)
        self.std_M.copy_(std_M)

    def forward(self, x_B1MT: torch.Tensor, stats_B2: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise clips, wherever an encoder takes them: training, embedding, detection.

        ``stats_B2`` is the mean and deviation of each clip's recording, which mode recording
        reads; None: each clip is taken for a whole recording.
        """
        if self.mode == "none":
            return x_B1MT
        if self.mode == "train":
            mean, std = self.mean_M[:, None], self.std_M[:, None]
        else:
            if self.mode == "sample" or stats_B2 is None:
                stats_B2 = scalar_stats(x_B1MT)
            mean, std = stats_B2.to(x_B1MT)[:, :, None, None, None].unbind(dim=1)
        return (x_B1MT - mean) / std.clamp(min=SMALLEST_STD)


def scalar_stats(x_B1MT: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation over everything but the first axis, (B, 2)."""
    var_B, mean_B = torch.var_mean(x_B1MT.flatten(1), dim=1, correction=0)
    return torch.stack([mean_B, var_B.sqrt()], dim=1)
