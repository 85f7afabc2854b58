"""A small 1-D convolutional encoder on raw waveforms.

Source: Dai et al., "Very Deep Convolutional Neural Networks for Raw Waveforms", ICASSP 2017 (M5).
What we changed: strided convolutions instead of pooling, and a linear layer to any width.

Shapes: B clips, S samples, C channels, T frames, D embedding width.
"""

from torch import Tensor, nn

from archs.protonet import Encoder
from g5.common.errors import UserError

STRIDES = (4, 4, 4, 4)
FIRST_KERNEL = 80


class WaveformCNN(Encoder):
    """Waveforms ``(B, S)`` to embeddings ``(B, D)``; any S from 1.

    Args:
        channels: of the four convolutions after which time is strided by 4 each.
        embedding_dim: width of the embedding.
    """

    def __init__(self, *, channels: list[int], embedding_dim: int) -> None:
        super().__init__()
        if len(channels) != len(STRIDES) or min(channels) < 1:
            raise UserError(f"encoder.channels={channels}: must be {len(STRIDES)} widths above 0")
        self.embedding_dim = embedding_dim
        layers: list[nn.Module] = []
        for before, after, stride in zip([1, *channels], channels, STRIDES, strict=False):
            kernel = FIRST_KERNEL if before == 1 and not layers else 5
            layers += [
                nn.Conv1d(before, after, kernel, stride, padding=kernel // 2, bias=False),
                nn.BatchNorm1d(after),
                nn.ReLU(inplace=True),
            ]
        self.blocks = nn.Sequential(*layers)
        self.projection = nn.Linear(channels[-1], embedding_dim)

    def forward(self, wave_BS: Tensor) -> Tensor:
        """Embed waveforms: ``(B, S) -> (B, D)``."""
        x_BCT = self.blocks(wave_BS[:, None])
        return self.projection(x_BCT.mean(dim=2))
