"""`g5 ui`."""

from pathlib import Path

import click


@click.command()
@click.option("--port", default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Open MLflow on the runs of the current directory, at http://127.0.0.1:PORT.

    \b
    g5 ui --port 5001
    """
    from g5.tracking.mlflow.ui import serve_mlflow

    serve_mlflow(Path.cwd(), port)
