"""The nearest prototype as a scikit-learn classifier.

Source: Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017.

Shapes: N examples, D embedding width, C classes.
"""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin

from archs.prototypes import cosine_logits, euclidean_logits
from g5.common.errors import UserError
from g5.transfer.heads.estimator import checked_embeddings

# On the cosine; as in the architectures.
COSINE_SCALE = 10.0


class PrototypeHead(ClassifierMixin, BaseEstimator):
    """A class is the mean of its embeddings; the nearest mean wins.

    Args:
        metric: ``euclidean`` (squared; divided by the mean squared distance of the training
            examples from their own prototype, so that probabilities mean something) or ``cosine``.
    """

    def __init__(self, *, metric: str = "euclidean") -> None:
        self.metric = metric

    def fit(self, X: Any, y: Any) -> "PrototypeHead":
        """Average the embeddings of each class."""
        if self.metric not in ("euclidean", "cosine"):
            raise UserError(f"head.metric={self.metric}: must be euclidean or cosine")
        x_ND = checked_embeddings(X)
        self.classes_, class_N = np.unique(np.asarray(y), return_inverse=True)
        sums_CD = np.zeros((len(self.classes_), x_ND.shape[1]))
        np.add.at(sums_CD, class_N, x_ND)
        self.prototypes_ = (sums_CD / np.bincount(class_N)[:, None]).astype(np.float32)
        spread = np.square(x_ND - self.prototypes_[class_N]).sum(axis=1).mean()
        self.scale_ = float(max(spread, 1e-12)) if self.metric == "euclidean" else 1.0
        self.n_features_in_ = x_ND.shape[1]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, C)."""
        x_ND = torch.from_numpy(checked_embeddings(X))
        proto_CD = torch.from_numpy(self.prototypes_)
        if self.metric == "cosine":
            logits_NC = cosine_logits(x_ND, proto_CD, COSINE_SCALE)
        else:
            logits_NC = euclidean_logits(x_ND, proto_CD) / self.scale_
        return logits_NC.softmax(dim=1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Labels (N,)."""
        return self.classes_[self.predict_proba(X).argmax(1)]
