"""A small 2-D convolutional encoder on mel spectrograms.

Source: the VGG-like "CNN6" family of Kong et al., "PANNs", TASLP 2020. What we changed: one 3x3
convolution a block, mean plus maximum over time after the mean over bands, a linear layer.

Shapes: B clips, 1 channel, M mel bands, T frames, C channels, D embedding width.
"""

from torch import Tensor, nn

from archs.protonet import Conv2d, Encoder, channels_last, prepare_convolutions
from g5.common.errors import UserError


class MelCNN(Encoder):
    """Spectrograms ``(B, 1, M, T)`` to embeddings ``(B, D)``; any M and T from 1.

    Args:
        channels: of the blocks; each halves both axes.
        embedding_dim: width of the embedding.
    """

    def __init__(self, *, channels: list[int], embedding_dim: int) -> None:
        super().__init__()
        if not channels or min(channels) < 1:
            raise UserError(f"encoder.channels={channels}: must be widths above 0")
        self.embedding_dim = embedding_dim
        layers: list[nn.Module] = []
        for before, after in zip([1, *channels], channels, strict=False):
            layers += [
                Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2, ceil_mode=True),  # ceil: one frame remains one
            ]
        self.blocks = nn.Sequential(*layers)
        self.projection = nn.Linear(channels[-1], embedding_dim)
        prepare_convolutions(self)

    def forward(self, x_B1MT: Tensor) -> Tensor:
        """Embed clips: ``(B, 1, M, T) -> (B, D)``."""
        x_BCT = self.blocks(channels_last(x_B1MT)).mean(dim=2)
        return self.projection(x_BCT.mean(dim=2) + x_BCT.amax(dim=2))
