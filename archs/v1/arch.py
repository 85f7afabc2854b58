"""The convolutional ProtoNet: two conv blocks, global average pooling, squared Euclidean distance.

Sources: Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, and
the DCASE few-shot bioacoustic baseline built on it (Morfi et al., DCASE 2021).

What we changed: two blocks instead of four, the second one wide; strides instead of resolution
(the first convolution and its pooling quarter both axes, the second halves them), which makes an
episode cheap; global average pooling instead of flattening, so that any number of bands and
frames will do. Time is strided by 8 frames in all.

Shapes: B clips, 1 channel, M mel bands, T frames, C channels, D embedding width.
"""

from torch import Tensor, nn

from archs.protonet import Conv2d, Encoder, ProtoNet, channels_last, check, prepare_convolutions

START_GAIN = 0.25  # of the last batch norm


class ConvEncoder(Encoder):
    """Two conv blocks and global average pooling; arguments as in `ProtoNetV1`.

    Output frame t sees the frames 8t - 5 to 8t + 7: only the first sees a clip's edge.
    """

    stride = 8
    head = 1

    def __init__(self, *, channels: list[int], dropout: float) -> None:
        super().__init__()
        first, last = channels
        self.embedding_dim = last
        last_norm = nn.BatchNorm2d(last)
        self.blocks = nn.Sequential(
            Conv2d(1, first, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2, ceil_mode=True),  # ceil: one frame remains one
            nn.Dropout2d(dropout),
            Conv2d(first, last, kernel_size=3, stride=2, padding=1, bias=False),
            last_norm,
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        prepare_convolutions(self)
        # Squared distances then start at the size softmax wants; at 1.0 the first loss is 20.
        nn.init.constant_(last_norm.weight, START_GAIN)

    def forward(self, x_B1MT: Tensor) -> Tensor:
        """Embed clips: ``(B, 1, M, T) -> (B, D)``."""
        x_BCMT = self.blocks(channels_last(x_B1MT))
        return x_BCMT.mean(dim=(2, 3))

    def frame_features(self, x_B1MT: Tensor) -> Tensor:
        """Mean over the bands: ``(B, 1, M, T) -> (B, C, T // 8)``."""
        return self.blocks(channels_last(x_B1MT)).mean(dim=2)

    def pool_frames(self, x_BCT: Tensor) -> Tensor:
        """Mean over the frames: ``(B, C, T // 8) -> (B, C)``."""
        return x_BCT.mean(dim=2)


class ProtoNetV1(ProtoNet):
    """Prototypical network with the two-block encoder.

    Args:
        channels: of the two blocks; the second is the embedding's width.
        dropout: share of channels dropped after each block in training, in [0, 1).
        distance: ``"euclidean"`` (squared) or ``"cosine"``.
        cosine_scale: factor on the cosine.
        normalize: ``"none"``, ``"l2"`` or ``"cl2n"``.

    Raises:
        UserError: a value outside these bounds.
    """

    def __init__(
        self,
        *,
        channels: list[int],
        dropout: float,
        distance: str,
        cosine_scale: float,
        normalize: str,
    ) -> None:
        widths = list(channels)
        rule = "must be two whole numbers above 0"
        check(len(widths) == 2 and min(widths) > 0, "channels", widths, rule)
        check(0 <= dropout < 1, "dropout", dropout, "must be in [0, 1)")
        encoder = ConvEncoder(channels=widths, dropout=dropout)
        super().__init__(
            encoder=encoder, distance=distance, cosine_scale=cosine_scale, normalize=normalize
        )
