"""Several encoders side by side: each vector at unit length, weighed by what the shots say.

Shapes: N windows, P encoders, D embedding width.
"""

import tempfile
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from archs.geometry import START_RADIUS
from archs.protonet import ProtoNet
from archs.prototypes import unit
from g5.common.atomic import disk_errors
from g5.detection.embedding.embedder import Band, Piece, WindowEmbedder
from g5.detection.embedding.own_window import Width
from g5.detection.embedding.sound import Sound
from g5.detection.embedding.windows import Scale
from g5.embeddings.encoders.identity import encoder_hash

# Windows that are joined at once: a night's are never in memory together.
ROWS = 4096


class SideBySideEmbedder(WindowEmbedder):
    """Embeds windows by several encoders at once.

    Squared distances are then the sum of the parts' own, each times the square of its weight.

    Args:
        names: of the encoders.
        parts: with one front end, that of the first.

    Attributes:
        weight_P: their squares add up to 1; equal until something is known.
    """

    def __init__(self, names: Sequence[str], parts: Sequence[WindowEmbedder]) -> None:
        self.names, self.parts, first = names, parts, parts[0]
        width = sum(part.model.embedding_dim for part in parts)
        model = ProtoNet(
            encoder=Width(width), distance="euclidean", cosine_scale=1.0, normalize="none"
        )
        super().__init__(
            first.front_end, model.eval(), "", first.store_dir, device=torch.device("cpu"),
            batch=first.batch, workers=first.workers,
        )  # fmt: skip
        self.weigh(np.ones(len(parts)))

    def weigh(self, share_P: np.ndarray) -> None:
        """Set the parts' shares in a squared distance."""
        # Two digits: what is as good as the same is the same in finished work, too.
        self.weight_P = np.sqrt(np.round(share_P / share_P.sum(), 2))
        self.identity = encoder_hash([part.identity for part in self.parts], [
            {"weight_P": torch.from_numpy(self.weight_P)}
        ])  # fmt: skip

    @property
    def stride(self) -> int:
        return max(part.stride for part in self.parts)

    def cut(
        self, pieces: Sequence[Piece], width: int, band: Band | None,
        heard: Sequence[np.ndarray] | None = None,
    ) -> list[Tensor]:  # fmt: skip
        cuts = [part.cut(pieces, width, band, heard) for part in self.parts]
        return [self._joined(parts) for parts in zip(*cuts, strict=True)]

    def cost_s(self) -> float:
        return sum(part.cost_s() for part in self.parts)

    def grid(self, sound: Sound, scale: Scale, band: Band | None) -> Tensor:
        # The parts are stored; joined they lie in a file that is gone when they are.
        grids = [part.grid(sound, scale, band) for part in self.parts]
        shape = (len(grids[0]), self.model.embedding_dim)
        with disk_errors(self.store_dir), tempfile.TemporaryFile(dir=self.store_dir) as file:
            whole = np.memmap(file, np.float16, "w+", shape=shape)
            for first in range(0, len(whole), ROWS):
                rows = slice(first, first + ROWS)
                whole[rows] = self._joined([grid[rows] for grid in grids]).numpy()
        return torch.from_numpy(whole)

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        scaled = [
            float(weight) * START_RADIUS * unit(z_ND)
            for weight, z_ND in zip(self.weight_P, parts, strict=True)
        ]
        return torch.cat(scaled, dim=1)
