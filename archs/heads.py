"""Shallow networks on embeddings: linear, MLP, deep MLP and residual MLP, for one task or another.

Every head maps ``(B, input_dim)`` to ``(B, n_outputs)`` raw scores; softmax, sigmoid or neither is
the business of who trains it.

Shapes: B vectors, D embedding width, H hidden width, C outputs.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from g5.common.errors import UserError


class LinearHead(nn.Module):
    """One linear layer: ``(B, D) -> (B, C)``."""

    def __init__(self, *, input_dim: int, n_outputs: int) -> None:
        super().__init__()
        _check_widths(input_dim=input_dim, n_outputs=n_outputs)
        self.classifier = nn.Linear(input_dim, n_outputs)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Raw scores ``(B, C)``."""
        return self.classifier(x_BD)


class MLPHead(nn.Module):
    """Hidden layers with ReLU and dropout, then a linear one: ``(B, D) -> (B, C)``.

    Args:
        input_dim: width of the embeddings.
        hidden_dims: width of each hidden layer; one for the usual MLP, several for a deep one.
        n_outputs: classes, labels or ratings.
        dropout: share of hidden units dropped in training, in [0, 1).
    """

    def __init__(
        self, *, input_dim: int, hidden_dims: Sequence[int], n_outputs: int, dropout: float
    ) -> None:
        super().__init__()
        _check_widths(input_dim=input_dim, n_outputs=n_outputs)
        _check_dropout(dropout)
        if not hidden_dims or min(hidden_dims) < 1:
            raise UserError(f"hidden_dims={list(hidden_dims)}: must be widths of at least 1")
        layers: list[nn.Module] = []
        for before, after in zip([input_dim, *hidden_dims], hidden_dims, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers)
        self.classifier = nn.Linear(hidden_dims[-1], n_outputs)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Raw scores ``(B, C)``."""
        return self.classifier(self.body(x_BD))


class ResidualHead(nn.Module):
    """A projection, residual blocks, and a linear layer: ``(B, D) -> (B, C)``.

    A block is layer norm, linear, ReLU, dropout, linear, added to its input; pre-norm as in Xiong
    et al., ICML 2020. The last linear layer of a block starts at zero, so that the untrained
    network is a linear one.

    Args:
        input_dim: width of the embeddings.
        hidden_dim: width of the blocks.
        n_blocks: how many.
        n_outputs: classes, labels or ratings.
        dropout: share of hidden units dropped in training, in [0, 1).
    """

    def __init__(
        self, *, input_dim: int, hidden_dim: int, n_blocks: int, n_outputs: int, dropout: float
    ) -> None:
        super().__init__()
        _check_widths(input_dim=input_dim, n_outputs=n_outputs, hidden_dim=hidden_dim)
        _check_dropout(dropout)
        self.projection = nn.Linear(input_dim, hidden_dim)
        self.blocks = nn.ModuleList(_block(hidden_dim, dropout) for _ in range(n_blocks))
        self.classifier = nn.Linear(hidden_dim, n_outputs)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Raw scores ``(B, C)``."""
        x_BH = self.projection(x_BD)
        for block in self.blocks:
            x_BH = x_BH + block(x_BH)
        return self.classifier(x_BH)


class EmbeddingClassifier(nn.Module):
    """A linear projection and a linear classifier, for a plain PyTorch loop or `EmbeddingHead`.

    There is no nonlinearity between the two: the projected vectors are a linear view of the
    embeddings that the classes shape, which is what a map or a search wants.

    Args:
        input_dim: width of the embeddings.
        hidden_dim: width of the projected vectors; None keeps ``input_dim``.
        num_classes: outputs.
        projection: False leaves the projection out; ``hidden_dim`` must then be None or
            ``input_dim``.

    Raises:
        UserError: a width below 1, or a ``hidden_dim`` that nothing could make.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int | None,
        num_classes: int,
        *,
        projection: bool = True,
    ) -> None:
        super().__init__()
        hidden = input_dim if hidden_dim is None else hidden_dim
        _check_widths(input_dim=input_dim, hidden_dim=hidden, num_classes=num_classes)
        if not projection and hidden != input_dim:
            raise UserError(
                f"hidden_dim={hidden}: without the projection it is input_dim={input_dim}; "
                "leave it None"
            )
        self.projection = nn.Linear(input_dim, hidden) if projection else nn.Identity()
        self.classifier = nn.Linear(hidden, num_classes)

    def get_embedding(self, x_BD: Tensor) -> Tensor:
        """The projected vectors ``(B, H)``."""
        return self.projection(x_BD)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Logits ``(B, C)``."""
        return self.classifier(self.get_embedding(x_BD))


def _block(width: int, dropout: float) -> nn.Sequential:
    last = nn.Linear(width, width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), last
    )


def _check_widths(**widths: int) -> None:
    for name, width in widths.items():
        if not isinstance(width, int) or width < 1:
            raise UserError(f"{name}={width}: must be a whole number of at least 1")


def _check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise UserError(f"dropout={dropout}: must be in [0, 1)")
