"""MLflow's pages on the runs of a directory: `g5 ui`."""

import os
import sqlite3
import sys
from pathlib import Path
from typing import NoReturn

from g5.common.errors import UserError
from g5.common.secrets import redacted
from g5.tracking.mlflow.places import DATABASE, check_answers, local_uri, quiet_mlflow


def serve_mlflow(root: Path, port: int) -> NoReturn:
    """Become `mlflow ui` on the runs of ``root``, or of MLFLOW_TRACKING_URI, at 127.0.0.1:port.

    Raises:
        UserError: there are no runs; nothing is made.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        if not (root / DATABASE).is_file():
            raise UserError(f"{root}: no runs here; {_where_runs_are(root)}")
        uri = local_uri(root)
    page = f"http://127.0.0.1:{port}{_trainings(uri)}"
    print(f"MLflow on {redacted(uri)}: {page} (Ctrl-C ends it)", flush=True)
    options = ["--port", str(port), "--backend-store-uri", uri]
    # -P: nothing that lies in the current directory is taken for a module of MLflow's.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "mlflow", "ui", *options])


def _trainings(uri: str) -> str:
    """The page of the experiment that was last trained in; "" where nothing was."""
    quiet_mlflow()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        check_answers(uri, create=False)
        client = MlflowClient(uri)
        all_ids = [one.experiment_id for one in client.search_experiments()]
        last = client.search_runs(
            all_ids, "tags.job = 'train'", order_by=["attributes.start_time DESC"], max_results=1
        )
    except (MlflowException, OSError, sqlite3.Error):
        return ""  # its own page says what is wrong
    return f"/#/experiments/{last[0].info.experiment_id}/runs" if last else ""


def _where_runs_are(root: Path) -> str:
    """The last database above ``root`` or one folder below, for whoever is in the wrong folder."""
    near = [*(parent / DATABASE for parent in root.parents), *root.glob(f"*/{DATABASE}")]
    found = {path: path.stat().st_mtime for path in near if path.is_file()}
    if not found:
        return "g5 train records some, or go to the folder where you trained"
    return f"the last ones are in {max(found, key=found.__getitem__).parent}: cd there"
