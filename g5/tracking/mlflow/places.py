"""Where MLflow keeps records, whether that place answers, and how to keep MLflow quiet."""

import logging
import os
import socket
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from g5.common.atomic import atomic_path, one_at_a_time
from g5.common.secrets import redacted

DATABASE = "mlflow.db"
ANSWER_S = 5.0  # a server that has not answered a first request by then is dead

# All far below what MLflow's client waits and retries by default, which adds up to 10 minutes.
SERVER_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


def quiet_mlflow() -> None:
    """To call before MLflow is imported: no logs, no telemetry, and little patience."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("alembic").setLevel(logging.ERROR)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    for key, value in SERVER_PATIENCE.items():
        os.environ.setdefault(key, value)
    # Prints tracebacks of errors that are said here in one line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def local_uri(root: Path) -> str:
    """The database that a bare `mlflow ui` opens in ``root``."""
    return sqlite_uri(root / DATABASE)


def sqlite_uri(path: Path) -> str:
    # SQLAlchemy takes `?` for the start of options and decodes `%`.
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def is_remote(uri: str) -> bool:
    """Whether ``uri`` is anything but a database or folder on this machine."""
    scheme, colon, _ = uri.partition(":")
    if not colon:
        return uri.startswith("databricks")  # else a plain path
    return not scheme.startswith(("sqlite", "file"))


def check_answers(uri: str, *, create: bool = True) -> None:
    """Raise an OSError or sqlite3.Error unless the store at ``uri`` answers at once.

    MLflow itself would try for minutes.

    Args:
        uri: a tracking URI.
        create: whether a local database may be made if it is not there.
    """
    if uri.startswith("sqlite"):
        path = Path(unquote(uri.partition(":///")[2].partition("?")[0]))
        if not create and not path.exists():
            raise FileNotFoundError(f"there is no {path}")
        make_database(path)
        database = sqlite3.connect(path, timeout=30, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        finally:
            database.close()
    elif uri.startswith(("http://", "https://")):
        import requests

        # Any answer will do: the root need not exist, and may ask for a password.
        requests.get(uri, timeout=ANSWER_S, stream=True, allow_redirects=False).close()
    elif is_remote(uri) and (parts := urlsplit(uri)).hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S).close()


def make_database(path: Path) -> None:
    """Make MLflow's database where there is none.

    Its tables are the outcome of dozens of migrations, which two processes must not mix.
    """

    def make(temporary: Path) -> None:
        from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH as PLACE
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(sqlite_uri(temporary), PLACE).engine.dispose()

    made_once(path, make)


def made_once(path: Path, make: Callable[[Path], None]) -> None:
    """Make a file where there is none: whole or not at all, by one process alone."""
    if _holds_something(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with one_at_a_time(lock):
        if not _holds_something(path):
            with atomic_path(path) as temporary:
                make(temporary)
        lock.unlink(missing_ok=True)  # whoever waits for it sees the file


def _holds_something(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def notice_old_mlruns(root: str | os.PathLike[str]) -> str | None:
    """A line to tell the user if a bare `mlflow ui` in ``root`` would open old runs instead.

    MLflow opens `./mlruns` instead of `./mlflow.db` where it holds an experiment: a folder with
    a number for a name and a `meta.yaml` (`_has_existing_mlruns_data` in MLflow 3).
    """
    old = Path(root) / "mlruns"
    if not any(meta.parent.name.isdigit() for meta in old.glob("*/meta.yaml")):
        return None
    return (
        f"{old.resolve()} holds old runs, which a bare `mlflow ui` opens instead of these; "
        "move it away, or use `mlflow ui --backend-store-uri sqlite:///mlflow.db`"
    )


def short(error: BaseException) -> str:
    """The heart of an error in one line: what system or database said, if they said anything."""
    heart: BaseException = error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OSError, sqlite3.Error)):
            heart = cause
        cause = cause.__cause__ or cause.__context__
    lines = [line.strip() for line in str(heart).splitlines() if line.strip()]
    text = redacted(lines[0]) if lines else type(heart).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."


def say(line: str) -> None:
    """Tell the user, beside whatever else is printed."""
    print(line, file=sys.stderr, flush=True)
