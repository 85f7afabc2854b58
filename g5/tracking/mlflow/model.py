"""Records a checkpoint as an MLflow model: code and safe tensors, no pickle."""

import tempfile
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from g5.common.revision import SOURCE
from g5.tracking.checkpoints import BEST, weights_only
from g5.tracking.restore import restore

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.models import Model

NAME = "model"
# What loading and predicting import; g5 itself travels with the model.
PACKAGES = ("mlflow", "numpy", "torch")
PACKAGES_OF_G5 = ("preprocessing", "archs", "g5")


def log_model(client: "MlflowClient", run_id: str, checkpoint: Path) -> None:
    """Record ``checkpoint`` as the model of an MLflow run.

    What `mlflow.pyfunc.log_model` does, for a run that need not be active in this thread, in
    whatever store ``client`` has. Called again after it failed, it goes on with the same model.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    run = client.get_run(run_id)
    logged = _begun(client, run) or client.create_logged_model(
        run.info.experiment_id, name=NAME, source_run_id=run_id, params=run.data.params
    )
    entry = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id)
    with tempfile.TemporaryDirectory() as folder:
        save_model(checkpoint, Path(folder) / NAME, entry)
        client.log_model_artifacts(logged.model_id, str(Path(folder) / NAME))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, models=[LoggedModelOutput(logged.model_id, step=0)])


def _begun(client: "MlflowClient", run: "Run") -> "LoggedModel | None":
    """The run's model that is not an output of it yet: a server died while it was recorded."""
    own = f"source_run_id = '{run.info.run_id}'"
    found = client.search_logged_models([run.info.experiment_id], filter_string=own)
    done = {model.model_id for model in (run.outputs.model_outputs if run.outputs else [])}
    return next((model for model in found if model.model_id not in done), None)


def save_model(checkpoint: Path, folder: Path, entry: "Model | None" = None) -> None:
    """Write ``checkpoint`` to ``folder`` as an MLflow model that stands on its own.

    Loaded by ``mlflow.pyfunc.load_model``, its ``predict`` takes waveforms ``(batch, samples)``,
    float32 at the model's rate (``sample_rate_hz`` in its metadata), and returns embeddings
    ``(batch, embedding_dim)``. Who turns distances to prototypes into probabilities divides them
    by the metadata's ``temperature`` first.
    """
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    restored = restore(checkpoint)
    float32 = np.dtype(np.float32)
    slim = folder.with_name(BEST)
    weights_only(checkpoint, slim)
    with warnings.catch_warnings():
        # MLflow would like an example, with which it runs the whole model once more.
        warnings.filterwarnings("ignore", message=".*input example.*")
        mlflow.pyfunc.save_model(
            path=str(folder),
            mlflow_model=entry,
            python_model=str(SOURCE / "g5" / "tracking" / "serving.py"),
            artifacts={"checkpoint": str(slim)},
            code_paths=[str(SOURCE / package) for package in PACKAGES_OF_G5],
            # Given, because MLflow would find them out by loading the model in a process.
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in PACKAGES],
            signature=ModelSignature(
                inputs=Schema([TensorSpec(float32, (-1, -1))]),
                outputs=Schema([TensorSpec(float32, (-1, restored.model.embedding_dim))]),
            ),
            metadata={
                "sample_rate_hz": restored.front_end.sr,
                "temperature": restored.temperature or 1.0,
            },
        )
    slim.unlink()
