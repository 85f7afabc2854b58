"""Encoders and heads as users write them, each with one mistake; for tests."""

import torch
from torch import nn


class Good(nn.Module):
    """Passes every contract check; says its width by a method."""

    sample_rate = 8000
    window_s = 0.5

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 8, 64, stride=32)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(8, width)
        self.width = width

    def get_embedding_dim(self) -> int:
        return self.width

    def forward(self, wave):
        return self.out(self.dropout(self.conv(wave[:, None]).relu().mean(dim=2)))


class Leftover(Good):
    def forward(self, wave):
        return super().forward(wave)[:, None]


class Frames(Good):
    def forward(self, wave):
        return self.out(self.conv(wave[:, None]).relu().transpose(1, 2))


class WrongWidth(Good):
    def get_embedding_dim(self) -> int:
        return 7


class Peers(Good):
    def forward(self, wave):
        z = super().forward(wave)
        return z - z.mean(dim=0)


class Detached(Good):
    def forward(self, wave):
        with torch.no_grad():
            return super().forward(wave)


class AlwaysDropout(Good):
    def forward(self, wave):
        return torch.dropout(super().forward(wave), 0.5, True)


class StaysInTraining(Good):
    def train(self, mode: bool = True):
        return super().train(True)


class Raises(Good):
    def forward(self, wave):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


class Silent(Good):
    get_embedding_dim = None  # type: ignore[assignment]


class Squeezes(Good):
    def forward(self, wave):
        return super().forward(wave).squeeze(0)


class Infinite(Good):
    def forward(self, wave):
        return super().forward(wave) / 0.0


class Deaf(Good):
    def forward(self, wave):
        return torch.ones(len(wave), self.width)


class NeedsArgument(Good):
    def __init__(self, depth: int) -> None:
        super().__init__()


class GoodHead(nn.Module):
    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(embedding_dim, 1)

    def forward(self, x):
        return self.layer(x).sigmoid()


class UnboundedHead(GoodHead):
    def forward(self, x):
        return self.layer(x)


class FlatHead(GoodHead):
    def forward(self, x):
        return super().forward(x)[:, 0]


class NanGradientHead(GoodHead):
    def forward(self, x):
        return (self.layer(x) * 0).abs().sqrt()


class NoWidthHead(nn.Module):
    def __init__(self, colour: str) -> None:
        super().__init__()
