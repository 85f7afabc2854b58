"""Which parts of a clip's spectrogram an embedding's decision rests on.

Shapes: M mel bands, T frames, D embedding width; C channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Embed = Callable[[Tensor], Tensor]  # (B, C, M, T) -> (B, D)


def occlusion(
    embed: Embed, x_CMT: Tensor, score: Callable[[Tensor], Tensor], *, mels: int, frames: int
) -> Tensor:
    """How much the score falls when a patch is replaced by the clip's median, (M, T).

    Zeiler & Fergus, ECCV 2014. Patches overlap by half; a cell is the mean over its patches.

    Args:
        embed: the encoder.
        x_CMT: features.
        score: of embeddings (B, D), higher where the decision is surer, (B,).
        mels, frames: size of a patch.
    """
    _, M, T = x_CMT.shape
    mels, frames = min(mels, M), min(frames, T)
    fill_C11 = _median(x_CMT)
    places = [(m, t) for m in _starts(M, mels) for t in _starts(T, frames)]
    fall_MT, count_MT = torch.zeros(M, T), torch.zeros(M, T)
    with torch.inference_mode():
        whole = score(embed(x_CMT[None]))[0]
        for first in range(0, len(places), 32):
            part = places[first : first + 32]
            x_BCMT = x_CMT.repeat(len(part), 1, 1, 1)
            for x, (m, t) in zip(x_BCMT, part, strict=True):
                x[:, m : m + mels, t : t + frames] = fill_C11
            for value, (m, t) in zip(whole - score(embed(x_BCMT)), part, strict=True):
                fall_MT[m : m + mels, t : t + frames] += value
                count_MT[m : m + mels, t : t + frames] += 1
    return fall_MT / count_MT


def integrated_gradients(
    embed: Embed, x_CMT: Tensor, score: Callable[[Tensor], Tensor], *, steps: int
) -> Tensor:
    """What each cell adds to the score on the way from the clip's median, (M, T).

    Sundararajan et al., ICML 2017; cells sum to the score's difference, up to the steps.
    """
    base = _median(x_CMT).expand_as(x_CMT)
    total = torch.zeros_like(x_CMT)
    for step in range(steps):
        x = (base + (step + 0.5) / steps * (x_CMT - base)).clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(score(embed(x[None]))[0], x)
        total += gradient
    return ((x_CMT - base) * total / steps).sum(0).detach()


def _median(x_CMT: Tensor) -> Tensor:
    """Of each channel, (C, 1, 1)."""
    return x_CMT.flatten(1).median(dim=1).values[:, None, None]


def _starts(length: int, size: int) -> list[int]:
    step = max(1, size // 2)
    return sorted({*range(0, length - size + 1, step), length - size})
