"""A head in an ONNX file of `g5 export`, together with its encoder."""

import json
from pathlib import Path

import numpy as np

from g5.common.errors import UserError
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.encoders.onnx_encoder import OnnxEncoder
from g5.transfer.heads.saved import SavedHead

SUFFIX = ".onnx"
# What makes its scores the vectors of its encoder.
OUTPUT = "encoder.output=scores"


class Scores:
    """A model whose input are its predictions already.

    Args:
        labels: C names of classes; none of ratings.
    """

    def __init__(self, labels: list[str]) -> None:
        self.classes_ = np.array(labels)

    def predict(self, x_NC: np.ndarray) -> np.ndarray:
        """Ratings."""
        return x_NC[:, 0] if x_NC.shape[1] == 1 else x_NC

    def predict_proba(self, x_NC: np.ndarray) -> np.ndarray:
        """Probabilities (N, C)."""
        return x_NC


def onnx_head(path: Path) -> SavedHead:
    """The head in an ONNX file; its encoder gives scores, with the override `OUTPUT`.

    Raises:
        UserError: the file cannot be read, or is an encoder alone.
    """
    module = load_encoder(str(path)).module
    assert isinstance(module, OnnxEncoder)
    try:
        task, labels = module.meta["task"], json.loads(module.meta["labels"])
        thresholds = json.loads(module.meta.get("thresholds", "{}"))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path}: says no labels, and is an encoder alone; g5 export HEAD -o FILE.onnx writes "
            "a head with its encoder"
        ) from error
    facts = load_encoder(str(path), [OUTPUT]).facts()
    name = module.meta.get("head", "onnx")
    return SavedHead(Scores(labels), name, task, labels, facts, thresholds)
