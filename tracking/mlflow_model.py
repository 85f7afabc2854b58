"""Records a checkpoint as an MLflow model: code and safe tensors, no pickle."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tracking.checkpoints import BEST, SOURCE, weights_only
from tracking.restore import restore

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "model"
# What loading and predicting import; g5 itself travels with the model.
PACKAGES = ("mlflow", "numpy", "torch")
ROOMS = ("preprocessing", "conf", "archs", "tracking")


def log_model(client: "MlflowClient", run_id: str, checkpoint: Path) -> None:
    """Record ``checkpoint`` as the model of an MLflow run.

    Loaded by ``mlflow.pyfunc.load_model``, its ``predict`` takes waveforms ``(batch, samples)``,
    float32 at the rate in the model's metadata, and returns embeddings
    ``(batch, embedding_dim)``.
    """
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    restored = restore(checkpoint)
    float32 = np.dtype(np.float32)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(float32, (-1, -1))]),
        outputs=Schema([TensorSpec(float32, (-1, restored.model.embedding_dim))]),
    )
    with tempfile.TemporaryDirectory() as folder, _tracking_uri(client.tracking_uri):
        slim = Path(folder) / BEST
        weights_only(checkpoint, slim)
        # Not `mlflow.pyfunc.log_model`: it needs a run that is active in this thread.
        Model.log(
            artifact_path=None,
            name=NAME,
            flavor=mlflow.pyfunc,
            flavor_name="pyfunc.ModelFromCode",
            run_id=run_id,
            python_model=str(SOURCE / "tracking" / "serving.py"),
            artifacts={"checkpoint": str(slim)},
            code_paths=[str(SOURCE / room) for room in ROOMS],
            # Given, because MLflow would find them out by loading the model in a process.
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in PACKAGES],
            signature=signature,
            metadata={"sample_rate_hz": restored.front_end.sr},
        )


@contextmanager
def _tracking_uri(uri: str) -> Iterator[None]:
    """MLflow's model functions know only the process-wide address; lend them one."""
    import mlflow

    variable = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        with warnings.catch_warnings():
            # It would like an example, with which it runs the whole model once more.
            warnings.simplefilter("ignore")
            yield
    finally:
        mlflow.set_tracking_uri(variable)  # pyright: ignore[reportArgumentType]
