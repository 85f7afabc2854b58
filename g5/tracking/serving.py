"""A trained encoder as an MLflow model: waveforms in, embeddings out.

MLflow copies this file beside the checkpoint and runs it when the model is loaded ("models from
code"), so that nothing is pickled. `mlflow.model.log_model` puts the two together.

Shapes: B clips, S samples, D embedding width.
"""

from typing import Any

import mlflow.models
import numpy as np
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from g5.tracking.restore import Restored, restore


class Embedder(PythonModel):
    """Embeds clips with a checkpoint's encoder, front end and normalisation.

    Normalisation per recording takes each clip for a whole recording. Clips of any length from
    one sample will do; those of the length the encoder was trained on fare best.
    """

    restored: Restored

    def load_context(self, context: PythonModelContext) -> None:
        """Rebuild the encoder from the checkpoint among the model's artifacts."""
        self.restored = restore(context.artifacts["checkpoint"])

    # MLflow takes other types than this for a schema.
    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """Embed waveforms ``(B, S)`` at the model's rate: ``(B, D)``, float32.

        Raises:
            ValueError: on input of another shape, or with samples that are no numbers.
        """
        wave_BS = np.asarray(model_input, dtype=np.float32)
        if wave_BS.ndim != 2 or wave_BS.shape[1] == 0:
            raise ValueError(f"waveforms must be (batch, samples), not {wave_BS.shape}")
        if not np.isfinite(wave_BS).all():
            raise ValueError("waveforms hold samples that are not finite numbers")
        return self.restored.embed(torch.from_numpy(wave_BS)).numpy()


mlflow.models.set_model(Embedder())
