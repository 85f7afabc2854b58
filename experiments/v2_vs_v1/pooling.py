"""v2 without its dual pooling, for a row of the ablation: a part that is replaced needs no switch.

Shapes: B clips, T frames, C channels.
"""

import torch
from torch import Tensor

from archs.v2.arch import ProtoNetV2, ResNetAttentionEncoder


class MeanPooling(ResNetAttentionEncoder):
    """The mean over the frames, twice, where v2 has mean and maximum: all shapes stay."""

    def pool(self, x_BTC: Tensor) -> Tensor:
        """``(B, T, C) -> (B, 2 * C)``."""
        return torch.cat([x_BTC.mean(dim=1)] * 2, dim=1)


class MeanPooledV2(ProtoNetV2):
    """`ProtoNetV2` with `MeanPooling`."""

    encoder_class = MeanPooling
