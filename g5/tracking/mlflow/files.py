"""Files of a command that trains and tests nothing, as an MLflow run of its own."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from g5.common.errors import UserError
from g5.common.secrets import redacted
from g5.tracking.folders import RunFolder
from g5.tracking.mlflow.logger import MLflowLogger
from g5.tracking.mlflow.places import local_uri, say


def record_files(
    files: Sequence[Path],
    *,
    root: Path,
    job: str,
    name: str,
    headline: str,
    tags: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> str | None:
    """Record files in MLflow where there is one: at ``MLFLOW_TRACKING_URI`` or ``root``'s own.

    The files are safe where they lie: what MLflow refuses is said, and nothing is raised.

    Args:
        files: pictures go to the artifacts' ``figures/``.
        root: where `mlflow.db` lies.
        job: the command, which is the experiment's name too.
        name: of the run.
        headline: its description.
    Returns:
        Where it is recorded; None where nothing is.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI") and not (root / "mlflow.db").exists():
        return None
    try:
        with (
            tempfile.TemporaryDirectory() as memory,
            MLflowLogger(
                root=root, experiment=job, run_name=name, folder=RunFolder(Path(memory)),
                resume=False, tracking_uri=None, system_metrics=False,
                server_wait_s=0.0,
            ) as logger,
        ):  # fmt: skip
            logger.set_tags({"job": job, **tags})
            logger.describe(job, headline)
            logger.log_metrics(metrics)
            for file in files:
                (logger.log_figure if file.suffix == ".png" else logger.log_artifact)(file)
    except UserError as error:
        say(f"{error} (the files themselves are written)")
        return None
    local = logger.tracking_uri == local_uri(root.resolve())
    return f"experiment {job} in {'mlflow.db' if local else redacted(logger.tracking_uri)}"
