"""What every architecture is: an encoder, and logits of queries against the prototypes.

Source: Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017.

A new version subclasses `ProtoNet`, hands it an encoder and says which distances it offers.

Shapes: B clips, I channels of the front end, M mel bands, T frames, D embedding width, C of it
for what is called, N classes, K support clips of a class, Q query clips, S all
support clips.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from archs.geometry import MODES, Geometry
from archs.metrics import MahalanobisMap, PairMLP, SupportScatter, scattered_logits
from archs.prototypes import cosine_logits, euclidean_logits, prototypes
from archs.timbre import TimbreKernel
from g5.common.errors import UserError

# Maps of fewer bands or frames than this are convolved in fp32 (`Conv2d`).
NARROW = 3


class Encoder(nn.Module):
    """Turns clips ``(B, 1, M, T)`` into embeddings ``(B, embedding_dim)``; any M and T from 1.

    An encoder whose work on overlapping windows can be shared says so by ``stride``: its clips
    are then ``pool_frames(frame_features(x))``, output frame t of a clip sees only frames up to
    ``stride * (t + 1) - 1``, and all but the first ``head`` output frames are those of any longer
    clip around, if the clip starts at a multiple of ``stride``.

    Attributes:
        embedding_dim: D.
        input_channels: of the front end.
        stride: input frames per output frame; 0: nothing can be shared.
        head: output frames at a clip's start that see its edge.
    """

    embedding_dim: int
    input_channels: int = 1
    stride: int = 0
    head: int = 0

    def frame_features(self, x_B1MT: Tensor) -> Tensor:
        """What is pooled: ``(B, 1, M, T) -> (B, C, T // stride)``; only with a ``stride``."""
        raise NotImplementedError(f"{type(self).__name__} shares nothing between windows")

    def pool_frames(self, x_BCT: Tensor) -> Tensor:
        """Embed clips by their frames: ``(B, C, T // stride) -> (B, D)``."""
        raise NotImplementedError(f"{type(self).__name__} shares nothing between windows")


class ProtoNet(nn.Module):
    """Prototypical network: ``forward`` embeds clips, ``logits`` classifies them in an episode.

    Args:
        encoder: what embeds the clips.
        distance: one of the class's ``distances``.
        cosine_scale: factor on the cosine when ``distance`` is ``"cosine"``; above 0.
        normalize: where embeddings lie: ``"none"``, ``"l2"`` or ``"cl2n"`` (`archs.geometry`).
        metric: of ``"learnable"`` a `MahalanobisMap` or None, of ``"mlp"`` a `PairMLP`; else None.
        scatter: of ``"learnable"``, what the support says about the distance; None: nothing.
        timbre: of the last ``timbre.inputs`` numbers of the encoder; None: it has none of these.

    Raises:
        UserError: a distance or geometry that is not there, or a scale of 0 or less.
    """

    distances: ClassVar[tuple[str, ...]] = ("euclidean", "cosine")

    def __init__(
        self, *, encoder: Encoder, distance: str, cosine_scale: float, normalize: str,
        metric: MahalanobisMap | PairMLP | None = None, scatter: SupportScatter | None = None,
        timbre: TimbreKernel | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        rule = f"must be one of {', '.join(self.distances)}"
        check(distance in self.distances, "distance", distance, rule)
        check(cosine_scale > 0, "cosine_scale", cosine_scale, "must be above 0")
        check(normalize in MODES, "normalize", normalize, f"must be one of {', '.join(MODES)}")
        self.encoder = encoder
        self.timbre = timbre
        self.call_dim = encoder.embedding_dim - (timbre.inputs if timbre else 0)
        self.geometry = Geometry(self.call_dim, normalize, learn_radius=distance != "cosine")
        self.embedding_dim = self.call_dim + (timbre.features if timbre else 0)
        self.distance = distance
        self.cosine_scale = cosine_scale
        self.metric = metric
        self.scatter = scatter

    def forward(self, x_BIMT: Tensor, *, mapped: bool = True) -> Tensor:
        """Embed clips: ``(B, I, M, T) -> (B, D)`` in fp32, also under autocast.

        Args:
            mapped: whether a learned map is applied; the loss that teaches the encoder does not.
        """
        return self.placed(self.encoder(x_BIMT), mapped=mapped)

    def placed(self, z_BD: Tensor, *, mapped: bool = True) -> Tensor:
        """What the encoder gives, put where distances are taken, in fp32: ``(B, D)``."""
        call_BC, timbre_BI = self.calls(z_BD), z_BD[:, self.call_dim :].float()
        if mapped and isinstance(self.metric, MahalanobisMap):
            call_BC = self.metric(call_BC)
        if self.timbre is None:
            return call_BC
        return torch.cat([call_BC, self.geometry.radius * self.timbre(timbre_BI)], dim=1)

    def calls(self, z_BD: Tensor) -> Tensor:
        """The part of what the encoder gives that says what is called, as a metric takes it."""
        return self.geometry(z_BD[:, : self.call_dim].float())

    def logits(self, support_NKD: Tensor, query_QD: Tensor) -> Tensor:
        """Classify embedded queries by an episode's embedded support: ``(Q, N)`` in fp32."""
        return self.compared(prototypes(support_NKD), query_QD, self.scatter_of(support_NKD))

    def scatter_of(self, support_NKD: Tensor) -> Tensor | None:
        """What a support says of the distance beside its prototypes, ``(S, D)``; None: nothing."""
        return None if self.scatter is None else self.scatter(support_NKD)

    def compared(self, proto_ND: Tensor, query_QD: Tensor, within_SD: Tensor | None) -> Tensor:
        """Classify embedded queries by prototypes and what `scatter_of` says: ``(Q, N)``."""
        if within_SD is None:
            return self.prototype_logits(proto_ND, query_QD)
        return scattered_logits(proto_ND, query_QD, within_SD)

    def prototype_logits(self, proto_ND: Tensor, query_QD: Tensor) -> Tensor:
        """Classify embedded queries by prototypes, as of single shots: ``(Q, N)`` in fp32."""
        if isinstance(self.metric, PairMLP):
            return -self.metric(query_QD, proto_ND)
        if self.distance == "cosine":
            return cosine_logits(query_QD, proto_ND, self.cosine_scale)
        return euclidean_logits(query_QD, proto_ND)


class Conv2d(nn.Conv2d):
    """A convolution that works in fp32 where its map is narrow, whatever autocast says.

    oneDNN's bf16 convolutions on CPUs with AMX read memory that nobody wrote where the map is one
    or two columns wide (torch 2.11; stride 2, 3x3). Such maps are so small that fp32 costs nothing.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``(B, in, M, T) -> (B, out, M', T')``; in fp32 where M or T is below `NARROW`."""
        if min(input.shape[-2:]) >= NARROW:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype))


def prepare_convolutions(module: nn.Module) -> None:
    """Initialise every 2-D convolution for ReLUs (He et al., ICCV 2015) and set its layout.

    Channels last is the faster layout for 3x3 convolutions: it takes 10 to 45 % off v1's and
    v2's step on a CPU, half off `mel_cnn`'s forward, and tensor cores ask for it. Weights keep it
    when a checkpoint is loaded.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)


def channels_last(x_B1MT: Tensor) -> Tensor:
    """The same clips, with strides that make every layer that follows work channels last.

    With one channel both layouts are the same in memory, so that PyTorch goes by the strides,
    and would keep the first convolution's output, and all after it, channels first.
    """
    return x_B1MT.to(memory_format=torch.channels_last)


def check(holds: bool, key: str, value: Any, rule: str) -> None:
    """Raise a `UserError` that names ``arch.model.<key>`` unless ``holds``."""
    if not holds:
        raise UserError(f"arch.model.{key}={value}: {rule}")
