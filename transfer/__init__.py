"""Embeddings and what is done with them: shallow heads, search, clusters, active learning.

`EmbeddingClassifier` (an `nn.Module`) is imported when it is first asked for, so that
``import transfer`` stays light.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archs.heads import EmbeddingClassifier

__all__ = ["EmbeddingClassifier"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    homes = {"EmbeddingClassifier": "archs.heads"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
