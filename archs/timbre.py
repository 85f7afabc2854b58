"""The part of an embedding that says who calls, and through what: a kernel on the mean spectrum.

Sources: Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", NeurIPS 2007; Yu et
al., "Orthogonal Random Features", NeurIPS 2016.

A likeness of spectra is strong evidence (one voice, one recorder) and its absence is none: the
same species sounds different at another place. A Gaussian kernel says so: it is near 0 for all
that is not close, and then no distance depends on it. Random features write it as plain numbers,
so that Euclidean distances and prototypes work as ever.

Shapes: B clips, I inputs, F features.
"""

import math

import torch
from torch import Tensor, nn

from archs.geometry import Geometry
from archs.prototypes import unit

SEED = 0  # of the random features: the same in every model


class TimbreKernel(nn.Module):
    """Features whose products are ``weight * exp(-sharpness * |u - v|^2)``, u and v of length 1.

    Args:
        inputs: I, width of what is compared.
        features: F, even; the error of a product is about ``weight * F**-0.5``.
        sharpness: the squared distance at which the kernel has fallen to 1/e is its inverse.
        weight: of this part against the rest of the embedding, whose length is 1.
    """

    frequency_FI: Tensor

    def __init__(self, inputs: int, features: int, *, sharpness: float, weight: float) -> None:
        super().__init__()
        self.inputs, self.features = inputs, features
        self.centre = Geometry(inputs, "cl2n", learn_radius=False)
        self.register_buffer("frequency_FI", _frequencies(features // 2, inputs))
        self.sharpness, self.scale = sharpness, math.sqrt(2 * weight / features)

    def forward(self, v_BI: Tensor) -> Tensor:
        """``(B, I) -> (B, F)`` in fp32; in training the running centre moves first."""
        with torch.autocast(v_BI.device.type, enabled=False):
            u_BI = unit(self.centre(v_BI.float()))
            phase_BF = math.sqrt(2 * self.sharpness) * (u_BI @ self.frequency_FI.T)
            return self.scale * torch.cat([phase_BF.cos(), phase_BF.sin()], dim=1)


def _frequencies(count: int, inputs: int) -> Tensor:
    """Normal vectors that are orthogonal in blocks: (count, I)."""
    generator = torch.Generator().manual_seed(SEED)
    blocks = []
    for _ in range(math.ceil(count / inputs)):
        turn_II, _ = torch.linalg.qr(torch.randn(inputs, inputs, generator=generator))
        length_I = torch.randn(inputs, inputs, generator=generator).norm(dim=1)
        blocks.append(length_I[:, None] * turn_II)
    return torch.cat(blocks)[:count]
