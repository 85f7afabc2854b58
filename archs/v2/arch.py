"""ResNet with squeeze-and-excitation, temporal self-attention and a learnable distance.

Sources: He et al., "Deep Residual Learning", CVPR 2016 (residual blocks); He et al., "Bag of
Tricks", CVPR 2019 (average-pooled skip connections); Hu et al., "Squeeze-and-Excitation
Networks", CVPR 2018; Vaswani et al., "Attention Is All You Need", NeurIPS 2017, in the pre-norm
order of Xiong et al., ICML 2020; Snell et al., "Prototypical Networks", NeurIPS 2017 (the
distance where training starts). The learned distances are in `archs.metrics`.

What we changed is said where it is, and in ARCHITECTURE.md.

Shapes: B clips, I channels of the front end, M mel bands, T frames, C channels, H heads, W width
of a head, S statistics of bands, D embedding width.
"""

from itertools import pairwise as neighbours
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archs.metrics import MahalanobisMap, PairMLP, SupportScatter
from archs.protonet import Conv2d, Encoder, ProtoNet, channels_last, check, prepare_convolutions
from archs.timbre import TimbreKernel

# Length of an embedding before training: squared distances are then of the size softmax wants.
START_LENGTH = 2.0
# Width of what the timbre's kernel compares.
TIMBRE_INPUTS = 128


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation: weigh each channel by all channels' means (Hu et al. 2018).

    The bottleneck is ``channels / reduction`` wide and at least 8: of two ReLUs both can die.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(8, channels // reduction)
        self.weigh = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels),
            nn.Sigmoid(),
        )

    def forward(self, x_BCMT: Tensor) -> Tensor:
        """Scale the channels of ``(B, C, M, T)``, each clip on its own."""
        return x_BCMT * self.weigh(x_BCMT.mean(dim=(2, 3)))[:, :, None, None]


class ResNetBlock(nn.Module):
    """Two 3x3 convolutions with squeeze-and-excitation beside a skip connection; halves both axes.

    The skip connection averages before its 1x1 convolution (He et al. 2019): with a stride alone
    it would see a quarter of the spectrogram. Dropout takes single elements of the residual
    branch; whole channels would be cheaper, but the few episodes of a short run do not bear it.
    """

    def __init__(
        self, in_channels: int, out_channels: int, se_reduction: int, dropout: float
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            ChannelAttention(out_channels, se_reduction) if se_reduction else nn.Identity(),
            nn.Dropout(dropout),
        )
        # ceil_mode: an odd axis keeps its last row, and one frame remains one.
        self.skip = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
            Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x_BCMT: Tensor) -> Tensor:
        """``(B, in, M, T) -> (B, out, ceil(M / 2), ceil(T / 2))``."""
        return F.relu(self.residual(x_BCMT) + self.skip(x_BCMT))


class TemporalAttention(nn.Module):
    """Pre-norm transformer layer over the frames: self-attention, then a small feed-forward.

    There is no positional encoding, on purpose. A frame that comes here has seen 91 input frames
    (about a second), so the order of a call's parts is already in it; without positions the layer
    takes any number of frames, and a call embeds alike wherever it lies in its clip.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )
        # Both branches start at nothing (Zhang et al., "Fixup", ICLR 2019): random attention
        # would only blur what the blocks say.
        for name, parameter in self.named_parameters():
            if name.startswith(("output.", "feed_forward.4.")):
                nn.init.zeros_(parameter)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """``(B, T, C) -> (B, T, C)``; permuting the frames permutes the result."""
        x_BTC = x_BTC + self.output(self._attend(self.attention_norm(x_BTC)))
        return x_BTC + self.feed_forward(x_BTC)

    def _attend(self, x_BTC: Tensor) -> Tensor:
        qkv_BTHW = self.query_key_value(x_BTC).unflatten(-1, (3, self.heads, -1))
        query_BHTW, key_BHTW, value_BHTW = qkv_BTHW.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed_BHTW = F.scaled_dot_product_attention(
            query_BHTW, key_BHTW, value_BHTW, dropout_p=dropout
        )
        return mixed_BHTW.transpose(1, 2).flatten(2)


class BandStatistics(nn.Module):
    """Mean and deviation over time of the input's bands, standardised by the training clips.

    What a clip's spectrum is like on the whole, which the blocks learn to see past. Bands are
    averaged to ``bands`` of them, so that any front end will do.
    """

    def __init__(self, bands: int, channels: int) -> None:
        super().__init__()
        self.pooled = 2 * bands  # of one channel
        self.width = channels * self.pooled
        self.standardise = nn.BatchNorm1d(self.width, affine=False)

    def forward(self, x_BCMT: Tensor) -> Tensor:
        """``(B, C, M, T) -> (B, 2 * C * bands)`` in fp32."""
        std_BCM, mean_BCM = torch.std_mean(x_BCMT.float(), dim=3, correction=0)
        mean_BCM = mean_BCM - mean_BCM.mean(dim=2, keepdim=True)
        both_BCM = torch.cat([mean_BCM, std_BCM], dim=2)
        return self.standardise(F.adaptive_avg_pool1d(both_BCM, self.pooled).flatten(1))


class ResNetAttentionEncoder(Encoder):
    """Residual blocks, coarse frequencies, temporal attention, dual pooling, projection.

    Arguments as in `ProtoNetV2`.
    """

    def __init__(
        self,
        *,
        input_channels: int,
        channels: list[int],
        se_reduction: int,
        attention_heads: int,
        dropout: float,
        embedding_dim: int,
        frequency_bins: int,
        band_statistics: int,
        timbre: bool,
    ) -> None:
        super().__init__()
        self.input_channels = input_channels
        self.embedding_dim = embedding_dim + (TIMBRE_INPUTS if timbre else 0)
        self.frequency_bins = frequency_bins
        self.blocks = nn.Sequential(
            *(
                ResNetBlock(a, b, se_reduction, dropout)
                for a, b in neighbours([input_channels, *channels])
            )
        )
        self.attention = nn.Identity()
        if attention_heads:
            self.attention = TemporalAttention(channels[-1], attention_heads, dropout)
        self.frequency = nn.Identity()
        if frequency_bins > 1:
            self.frequency = nn.Linear(frequency_bins * channels[-1], channels[-1], bias=False)
        self.statistics = None
        width = 2 * channels[-1]
        if band_statistics:
            self.statistics = BandStatistics(band_statistics, input_channels)
            width += self.statistics.width
        # Neither has a bias: it would shift all embeddings alike, which no distance can see.
        self.pooled_norm = nn.LayerNorm(2 * channels[-1], bias=False)
        self.projection = nn.Linear(width, embedding_dim, bias=False)
        # Weights of unit size with the scale outside (Jacot et al., NeurIPS 2018): to Adam, whose
        # steps are all of one size, this layer is then slow, and does not forget its random
        # projection, which keeps distances, before the blocks have learnt anything.
        nn.init.normal_(self.projection.weight)
        self.scale = START_LENGTH / self.projection.weight.numel() ** 0.5
        # A linear look at the bands' statistics of the first channel, log-mel.
        self.timbre = nn.Linear(2 * band_statistics, TIMBRE_INPUTS, bias=False) if timbre else None
        prepare_convolutions(self)

    def forward(self, x_BIMT: Tensor) -> Tensor:
        """Embed clips: ``(B, I, M, T) -> (B, D)`` in fp32."""
        x_BCMT = self.blocks(channels_last(x_BIMT))
        x_BCFT = F.adaptive_avg_pool2d(x_BCMT, (self.frequency_bins, x_BCMT.shape[3]))
        x_BTC = self.attention(self.frequency(x_BCFT.flatten(1, 2).transpose(1, 2)))
        # bf16 would leave three digits of an embedding.
        with torch.autocast(x_BTC.device.type, enabled=False):
            pooled_BC = self.pooled_norm(self.pool(x_BTC.float()))
            if self.statistics is None:
                return self.scale * self.projection(pooled_BC)
            bands_BS = self.statistics(x_BIMT)
            z_BD = self.scale * self.projection(torch.cat([pooled_BC, bands_BS], dim=1))
            if self.timbre is None:
                return z_BD
            return torch.cat([z_BD, self.timbre(bands_BS[:, : self.timbre.in_features])], dim=1)

    def pool(self, x_BTC: Tensor) -> Tensor:
        """Dual pooling, mean and maximum over the frames: ``(B, T, C) -> (B, 2 * C)``."""
        return torch.cat([x_BTC.mean(dim=1), x_BTC.amax(dim=1)], dim=1)


class ProtoNetV2(ProtoNet):
    """Prototypical network with the residual attention encoder.

    Args:
        input_channels: of the front end.
        channels: of the residual blocks, one or more; each block halves both axes.
        se_reduction: bottleneck of squeeze-and-excitation: channels are divided by it; 0: none.
        attention_heads: heads of the temporal attention, which divide the last of ``channels``;
            0: no attention.
        dropout: in residual blocks and attention, in [0, 1).
        embedding_dim: width D of the embedding.
        frequency_bins: coarse frequencies that pooling keeps apart; 1: the mean over all bands.
        band_statistics: bands whose mean and deviation over time join the embedding; 0: none.
        timbre_dim: random features of the timbre's kernel, that much of the embedding; 0: none.
        timbre_sharpness: of the kernel.
        timbre_weight: of it against the rest of the embedding.
        distance: ``"learnable"`` (a Mahalanobis distance), ``"euclidean"`` (squared), ``"cosine"``
            or ``"mlp"`` (over pairs).
        metric_rank: directions that the learnable distance weighs on their own, if there are so
            many; 0: it learns none.
        metric_shrink: of what it sees classes differ in, towards all directions alike, 0 to 1.
        scatter_floor: of what the learnable distance takes from the support (`SupportScatter`);
            None: nothing.
        distance_hidden: widths of the hidden layers of the MLP.
        distance_share: the MLP changes a distance by at most this share of it; None: no bound.
        cosine_scale: factor on the cosine.
        normalize: where embeddings lie: ``"none"``, ``"l2"`` or ``"cl2n"``.

    Raises:
        UserError: a value outside these bounds.
    """

    distances: ClassVar[tuple[str, ...]] = ("learnable", "euclidean", "cosine", "mlp")
    encoder_class: ClassVar[type[ResNetAttentionEncoder]] = ResNetAttentionEncoder

    def __init__(
        self,
        *,
        input_channels: int,
        channels: list[int],
        se_reduction: int,
        attention_heads: int,
        dropout: float,
        embedding_dim: int,
        frequency_bins: int,
        band_statistics: int,
        timbre_dim: int,
        timbre_sharpness: float,
        timbre_weight: float,
        distance: str,
        metric_rank: int,
        metric_shrink: float,
        scatter_floor: float | None,
        distance_hidden: list[int],
        distance_share: float | None,
        cosine_scale: float,
        normalize: str,
    ) -> None:
        widths, hidden = list(channels), list(distance_hidden)
        rule = "must be whole numbers above 0"
        check(input_channels > 0, "input_channels", input_channels, "must be above 0")
        check(len(widths) > 0 and min(widths) > 0, "channels", widths, f"{rule}, at least one")
        check(min(hidden, default=1) > 0, "distance_hidden", hidden, rule)
        check(se_reduction >= 0, "se_reduction", se_reduction, "must be 0 or more")
        check(embedding_dim > 0, "embedding_dim", embedding_dim, "must be above 0")
        check(frequency_bins > 0, "frequency_bins", frequency_bins, "must be above 0")
        check(band_statistics >= 0, "band_statistics", band_statistics, "must be 0 or more")
        rule = "must be 0, or even, less than embedding_dim, and beside band_statistics"
        fits = timbre_dim % 2 == 0 <= timbre_dim < embedding_dim and band_statistics > 0
        check(timbre_dim == 0 or fits, "timbre_dim", timbre_dim, rule)
        timbre = _timbre(timbre_dim, timbre_sharpness, timbre_weight)
        call_dim = embedding_dim - timbre_dim
        rule = "must be null, or above 0 and below 1"
        fits = distance_share is None or 0 < distance_share < 1
        check(fits, "distance_share", distance_share, rule)
        check(0 <= dropout < 1, "dropout", dropout, "must be in [0, 1)")
        rule = f"must be 0 or divide the last of arch.model.channels ({widths[-1]})"
        fits = attention_heads >= 0 and widths[-1] % max(1, attention_heads) == 0
        check(fits, "attention_heads", attention_heads, rule)
        encoder = self.encoder_class(
            input_channels=input_channels, channels=widths, se_reduction=se_reduction,
            attention_heads=attention_heads, dropout=dropout, embedding_dim=call_dim,
            frequency_bins=frequency_bins, band_statistics=band_statistics,
            timbre=timbre is not None,
        )  # fmt: skip
        metric = PairMLP(embedding_dim, hidden, distance_share) if distance == "mlp" else None
        learned = _map(call_dim, metric_rank, metric_shrink)
        if distance == "learnable":
            metric = learned
        scatter = _scatter(scatter_floor) if distance == "learnable" else None
        super().__init__(
            encoder=encoder, distance=distance, cosine_scale=cosine_scale, normalize=normalize,
            metric=metric, scatter=scatter, timbre=timbre,
        )  # fmt: skip


def _map(call_dim: int, rank: int, shrink: float) -> MahalanobisMap | None:
    """The learned map; None where it has no rank."""
    check(rank >= 0, "metric_rank", rank, "must be 0 or more")
    check(0 <= shrink <= 1, "metric_shrink", shrink, "must be from 0 to 1")
    return MahalanobisMap(call_dim, min(rank, call_dim), shrink) if rank else None


def _scatter(floor: float | None) -> SupportScatter | None:
    """What the support says; None where it is not asked."""
    if floor is None:
        return None
    check(floor > 0, "scatter_floor", floor, "must be null, or above 0")
    return SupportScatter(floor)


def _timbre(features: int, sharpness: float, weight: float) -> TimbreKernel | None:
    """The timbre's kernel; None where it has no features."""
    check(sharpness > 0, "timbre_sharpness", sharpness, "must be above 0")
    check(weight > 0, "timbre_weight", weight, "must be above 0")
    if not features:
        return None
    return TimbreKernel(TIMBRE_INPUTS, features, sharpness=sharpness, weight=weight)
