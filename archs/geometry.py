"""Where embeddings lie before they are compared: as they come, or centred and on a sphere.

Sources: Wang et al., "SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot
Learning", 2019 (CL2N: centring by the training classes' mean, then length 1).

What we changed: the mean is a running one, kept like batch norm's and stored in the checkpoint, so
that training and test see one geometry and a clip's embedding depends on no other clip; and the
sphere's radius is learned, which sets the temperature of the softmax over distances.

Shapes: B clips, D embedding width.
"""

import math

import torch
from torch import Tensor, nn

from archs.prototypes import unit

MODES = ("none", "l2", "cl2n")
# Squared distances on the sphere reach 4 * RADIUS^2: logits of the size softmax wants.
START_RADIUS = 3.0
# Share of a batch in the running mean, once there have been as many batches as it stands for.
MOMENTUM = 0.01


class Geometry(nn.Module):
    """Leave embeddings alone (``none``), give them one length (``l2``), or centre first (``cl2n``).

    Args:
        embedding_dim: D.
        mode: one of `MODES`.
        learn_radius: false where only directions count: nothing could teach it.
    """

    log_radius: Tensor
    mean_D: Tensor
    batches: Tensor

    def __init__(self, embedding_dim: int, mode: str, *, learn_radius: bool) -> None:
        super().__init__()
        assert mode in MODES, mode
        self.mode = mode
        if mode != "none":
            radius = torch.tensor(math.log(START_RADIUS))
            if learn_radius:
                self.log_radius = nn.Parameter(radius)
            else:
                self.register_buffer("log_radius", radius)
        if mode == "cl2n":
            self.register_buffer("mean_D", torch.zeros(embedding_dim))
            self.register_buffer("batches", torch.tensor(0.0))

    @property
    def radius(self) -> Tensor | float:
        """The length of embeddings; 1 where they have lengths of their own."""
        return 1.0 if self.mode == "none" else self.log_radius.exp()

    def forward(self, z_BD: Tensor) -> Tensor:
        """``(B, D) -> (B, D)`` in fp32; in training the running mean moves first."""
        if self.mode == "none":
            return z_BD
        with torch.autocast(z_BD.device.type, enabled=False):
            z_BD = z_BD.float()
            if self.mode == "cl2n":
                if self.training:
                    self._follow(z_BD.detach())
                z_BD = z_BD - self.mean_D
            return self.radius * unit(z_BD)

    @torch.no_grad()
    def _follow(self, z_BD: Tensor) -> None:
        """Move the running mean towards a batch's; the first batches count alike."""
        self.batches += 1
        self.mean_D += (z_BD.mean(dim=0) - self.mean_D) * (1 / self.batches).clamp(min=MOMENTUM)
