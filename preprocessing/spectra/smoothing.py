"""First-order smoothing along time, in a few products instead of a step for every frame.

Shapes: T frames, C chunks of them, M mel bands.
"""

import numpy as np
import torch
from torch import nn

# Frames of PCEN's smoother that are one triangular product.
SMOOTHER_CHUNK = 256


def smooth(
    x_TM: torch.Tensor, decay: float, head_M: torch.Tensor, decay_TT: torch.Tensor
) -> torch.Tensor:
    """``y[t] = decay * y[t - 1] + x[t]`` along the frames of (..., T, M), from ``y[-1] = head``.

    Chunks are summed by a triangular matrix of powers; their ends obey the same recurrence with
    ``decay ** chunk``, so a recording of any length takes a few products instead of T steps.

    Args:
        x_TM: (..., T, M).
        decay: 0 to 1.
        head_M: (..., M), the value before the first frame.
        decay_TT: ``decay_matrix(decay, chunk)``.
    """
    n_frames = x_TM.shape[-2]
    if torch.onnx.is_in_onnx_export():  # a graph does not know how many chunks there will be
        lag_T = torch.arange(n_frames).to(x_TM)
        lag_TT = lag_T[:, None] - lag_T
        decay_TT = torch.where(lag_TT >= 0, decay ** lag_TT.clamp(min=0), torch.zeros_like(lag_TT))
    chunk = len(decay_TT)
    if n_frames <= chunk:
        powers_T1 = decay * decay_TT[:n_frames, :1]
        return decay_TT[:n_frames, :n_frames] @ x_TM + powers_T1 * head_M.unsqueeze(-2)
    x_TM = nn.functional.pad(x_TM, (0, 0, 0, -n_frames % chunk))
    local_CTM = decay_TT @ x_TM.unflatten(-2, (-1, chunk))
    ends_CM = smooth(
        local_CTM[..., -1, :], decay**chunk, head_M, decay_matrix(decay**chunk, chunk).to(x_TM)
    )
    heads_CM = torch.cat([head_M.unsqueeze(-2), ends_CM[..., :-1, :]], dim=-2)
    y_CTM = local_CTM + decay * decay_TT[:, :1] * heads_CM.unsqueeze(-2)
    return y_CTM.flatten(-3, -2)[..., :n_frames, :]


def decay_matrix(decay: float, size: int) -> torch.Tensor:
    """Lower triangle of ``decay ** (row - column)``, (size, size) float64."""
    lag = np.arange(size)[:, None] - np.arange(size)[None, :]
    return torch.from_numpy(np.where(lag >= 0, decay ** np.maximum(lag, 0.0), 0.0))
