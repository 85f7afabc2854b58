"""Memory and precision of a front end's products, on the device at hand.

Shapes: T frames, N samples of a window, F frequency bins.
"""

import threading
from typing import NamedTuple

import torch


class Scratch(NamedTuple):
    """Memory for the intermediate results of a piece; None: newly allocated.

    They are megabytes, which the C library gives back to the system and asks for again at every
    piece: the page faults take several times as long as the arithmetic.
    """

    windowed_TN: torch.Tensor | None
    power_TF: torch.Tensor | None

    def first(self, n_frames: int) -> "Scratch":
        """The part for ``n_frames`` frames."""
        return Scratch(*(part if part is None else part[:n_frames] for part in self))


NO_SCRATCH = Scratch(None, None)
_THREAD = threading.local()


def scratch_of(n_frames: int, n_fft: int, power_dtype: torch.dtype) -> Scratch:
    """This thread's scratch memory."""
    kind = (n_frames, n_fft, power_dtype)
    if getattr(_THREAD, "kind", None) != kind:
        # What is made in inference mode cannot be written to outside it.
        with torch.inference_mode(False):
            windowed_TN = torch.empty(n_frames, n_fft, dtype=torch.float64)
            power_TF = torch.empty(n_frames, 2 * (n_fft // 2 + 1), dtype=power_dtype)
        _THREAD.kind, _THREAD.scratch = kind, Scratch(windowed_TN, power_TF)
    return _THREAD.scratch


def product_dtype(device: torch.device) -> torch.dtype:
    """float32 where its products are exact to its precision, else float64.

    TF32 on CUDA, and what "high" and "medium" mean on some CPUs, would cost three digits.
    """
    precision = getattr(torch.backends.mkldnn, "matmul").fp32_precision  # noqa: B009  no stub
    exact = device.type == "cpu" and precision not in ("tf32", "bf16")
    return torch.float32 if exact else torch.float64
