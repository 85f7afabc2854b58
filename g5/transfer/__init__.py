"""Embeddings and what is done with them: shallow heads, search, clusters, active learning.

`EmbeddingClassifier` (an `nn.Module`) and `EmbeddingHead` (a scikit-learn estimator) are imported
when they are first asked for, so that
``import transfer`` stays light.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archs.heads import EmbeddingClassifier
    from g5.transfer.heads.estimator import EmbeddingHead

__all__ = ["EmbeddingClassifier", "EmbeddingHead"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    homes = {"EmbeddingClassifier": "archs.heads", "EmbeddingHead": "g5.transfer.heads.estimator"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
