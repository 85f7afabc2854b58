"""MLflow's pages on the runs of a directory: `g5 ui`."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from g5.tracking.mlflow_places import local_uri, redacted


def serve_mlflow(root: Path, port: int) -> NoReturn:
    """Become `mlflow ui` on the runs of ``root``, or of MLFLOW_TRACKING_URI, at 127.0.0.1:port."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or local_uri(root)
    print(f"MLflow on {redacted(uri)}: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    options = ["--port", str(port), "--backend-store-uri", uri]
    # -P: nothing that lies in the current directory is taken for a module of MLflow's.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "mlflow", "ui", *options])
