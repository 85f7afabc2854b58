"""Digital silence in what an encoder is given: it is left out, and what sounds is repeated.

A recorder with a trigger writes zeros where it did not record: nothing that an encoder should hear.

Shapes: T frames or samples, M bands.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from preprocessing.holds import RUN_S


def silent_frames(x_TM: Tensor, channels: int = 1) -> Tensor:
    """Which frames (..., T) of features (..., T, M) are of zeros: all bands of a channel alike.

    Of zeros every front end makes the same value in every band, of sound none does.
    """
    bands = x_TM.shape[-1] // channels
    if bands < 2:
        return torch.zeros(x_TM.shape[:-1], dtype=torch.bool, device=x_TM.device)
    alike = x_TM[..., 0] == x_TM[..., bands - 1]
    if bool(alike.any()):
        parts = x_TM[alike].unflatten(-1, (channels, bands))
        alike[alike.clone()] = (parts == parts[..., :1]).flatten(-2).all(dim=-1)
    return alike


def silent_samples(x_S: Tensor, rate_hz: int) -> Tensor:
    """Which samples (S,) are in a run of zeros of `RUN_S` or more."""
    run, zero_S = max(int(RUN_S * rate_hz), 2), x_S == 0
    if int(zero_S.sum()) < run:
        return torch.zeros_like(zero_S)
    count_S = pad(zero_S.int(), (1, 0)).cumsum(0)
    begins_S = (count_S[run:] - count_S[:-run] == run).int()
    begun_S = pad(begins_S, (run, run - 1)).cumsum(0)
    return begun_S[run:] > begun_S[:-run]


def sounding(x: Tensor, silent_T: Tensor) -> Tensor:
    """What sounds of rows (T, ...), again and again to the same length; at least one must."""
    kept = torch.nonzero(~silent_T)[:, 0]
    return x[kept[torch.arange(len(x)) % len(kept)]]
