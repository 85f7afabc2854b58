"""A test of the device's own arithmetic, before a training in mixed precision trusts it.

oneDNN's bf16 convolutions have been wrong on some processors (`archs.protonet.Conv2d`), without a
word: a training then ends in NaN, or learns from noise.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

TYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
# Rounding to eight bits costs 0.3 %; what was seen to be wrong was wrong by half and more.
LARGEST_ERROR = 0.05
CLIPS, CHANNELS, BANDS = 4, 64, 8
FRAMES = (3, 4, 5, 8, 11, 22, 43)


def trusted_precision(precision: str, device: torch.device) -> str:
    """``precision``, or fp32, with one line to say so, where the device computes it wrongly."""
    if precision not in TYPES:
        return precision
    wrong = next(faults(device, TYPES[precision]), None)
    if wrong is None:
        return precision
    print(f"note: trainer.precision={precision}: this {device.type}'s {wrong}; training in fp32")
    return "32-true"


def faults(device: torch.device, dtype: torch.dtype) -> Iterator[str]:
    """What the device gets wrong in ``dtype``: a phrase each, from small maps to wide ones."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    weight = draw(CHANNELS, CHANNELS, 3, 3) / (9 * CHANNELS) ** 0.5
    for frames in FRAMES:
        x_BCMT = draw(CLIPS, CHANNELS, BANDS, frames)
        for stride in (1, 2):
            error = _error(x_BCMT, weight, stride, dtype)
            if not error < LARGEST_ERROR:
                yield f"convolution of {frames} frames, stride {stride}, is wrong by {error:.0%}"
    x_BD, matrix_DD = draw(CLIPS, 256), draw(256, 256) / 16
    error = _distance((x_BD.to(dtype) @ matrix_DD.to(dtype)).float(), x_BD @ matrix_DD)
    if not error < LARGEST_ERROR:
        yield f"matrix product is wrong by {error:.0%}"


def _error(x_BCMT: Tensor, weight: Tensor, stride: int, dtype: torch.dtype) -> float:
    """Largest relative error of a convolution, of its gradient and of its weights' gradient."""
    results = []
    for kind in (torch.float32, dtype):
        x, w = (
            part.to(kind, memory_format=torch.channels_last).detach().requires_grad_()
            for part in (x_BCMT, weight)
        )
        # Memory that is read before it is written is to show.
        dirt = [torch.full((2**k,), torch.nan, device=x.device) for k in range(8, 18)]
        del dirt
        y = F.conv2d(x, w, stride=stride, padding=1)
        y.backward(torch.linspace(-1, 1, y.numel(), device=y.device).view_as(y).to(kind))
        results.append([part.detach().float() for part in (y, x.grad, w.grad) if part is not None])
    return max(_distance(mixed, exact) for exact, mixed in zip(*results, strict=True))


def _distance(mixed: Tensor, exact: Tensor) -> float:
    """Relative, in the Euclidean norm; NaN is the largest."""
    error = float((mixed - exact).norm() / exact.norm())
    return error if error == error else float("inf")
