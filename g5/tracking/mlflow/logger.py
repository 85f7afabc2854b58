"""A run's record in MLflow: params, tags, metrics, artifacts and the model.

A tracking server that does not answer at the start, or stops answering for longer than the run
waits for it, is left for the local SQLite database, with all that was recorded so far.
"""

import getpass
import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from g5.common.errors import UserError
from g5.common.secrets import redacted
from g5.config.changes import flatten
from g5.tracking.folders import RunFolder, read_record
from g5.tracking.mlflow.monitor import system_monitor
from g5.tracking.mlflow.parent import parent_run
from g5.tracking.mlflow.places import (
    check_answers,
    is_remote,
    local_uri,
    quiet_mlflow,
    say,
    short,
)
from g5.tracking.mlflow.writer import Operation, RecordWriter, Value, metric_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_PARAMS = 100  # in one request, says MLflow
# MLflow's pages show an experiment of runs, not one of chats.
TRAINS = {"mlflow.experimentKind": "custom_model_development"}


class MLflowLogger(Logger):
    """Lightning's logger, and the run's whole record: params, tags, metrics, artifacts, model.

    Use it as a context manager around training and test: it opens the run, and closes it as
    FINISHED, FAILED or, after Ctrl-C and SIGTERM, KILLED. Only rank 0 records anything.

    Args:
        root: `path.root_dir`; `mlflow.db` and `outputs/mlflow_artifacts/` lie here.
        experiment: `name` of the configuration.
        run_name: `exp_name`, with the job's number in a multirun.
        folder: the run's folder, which remembers the MLflow run so that resuming continues it.
        resume: whether to continue the run that ``folder`` remembers.
        tracking_uri: of the server; None for ``MLFLOW_TRACKING_URI``, else the local database.
        system_metrics: record CPU, memory, disk, network and GPU.
        server_wait_s: how long a server may be away before the local database takes its place.
        parent: the folder of a multirun or a sweep, whose runs are the children of one.
    """

    def __init__(
        self,
        *,
        root: str | os.PathLike[str],
        experiment: str,
        run_name: str,
        folder: RunFolder,
        resume: bool,
        tracking_uri: str | None,
        system_metrics: bool,
        server_wait_s: float,
        parent: Path | None = None,
    ) -> None:
        super().__init__()
        self.root = Path(root).expanduser().resolve()
        self.experiment_name = experiment
        self.run_name = run_name
        self.folder = folder
        self.resume = resume
        self.local_uri = local_uri(self.root)
        self.tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or self.local_uri
        self.system_metrics = system_metrics
        self.server_wait_s = server_wait_s
        self.parent = parent
        self.run_id: str | None = None
        self._status_before: str | None = None
        # When it was begun, worked for in earlier sessions, and opened in this one, ms.
        self._begun_ms = self._worked_ms = self._opened_ms = 0
        self._writer: RecordWriter | None = None
        self._monitor: Any = None

    # --- the run ----------------------------------------------------------------------------

    @rank_zero_only
    def start(self) -> None:
        """Open the MLflow run.

        Raises:
            UserError: if the local database cannot be used. A server that does not answer is
                said in one line, and the local database is used.
        """
        quiet_mlflow()
        if is_remote(self.tracking_uri):
            try:
                self._open(self.tracking_uri)
            except Exception as error:
                say(
                    f"MLflow: {redacted(self.tracking_uri)} cannot be used ({short(error)}); "
                    f"recording in {self.local_uri} instead"
                )
                self.tracking_uri = self.local_uri
        if self._writer is None:
            try:
                self._open(self.tracking_uri)
            except Exception as error:
                raise UserError(
                    f"MLflow: {self.tracking_uri} cannot be used ({short(error)}); "
                    "put it right, or train with logger=none"
                ) from error
        if self.system_metrics:
            self._monitor = system_monitor(
                self.log_metrics, self.run_id, resume=self.resume, uri=self.tracking_uri
            )
            self._monitor.start()

    def close(self, status: str) -> None:
        """Write what is left and end the run as FINISHED, FAILED or KILLED."""
        if self._monitor is not None:
            self._monitor.stop()
            self._monitor = None
        if self._writer is not None:
            writer, self._writer = self._writer, None
            status = self._status_before or status
            # MLflow's duration is end less begin: what lies between sessions is no work.
            worked_ms = self._worked_ms + _now_ms() - self._opened_ms
            ended_ms = self._begun_ms + worked_ms
            writer.add(lambda client, run_id: client.set_terminated(run_id, status, ended_ms))
            writer.finish()
            self.folder.remember(status=status)

    def __enter__(self) -> "MLflowLogger":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close("FINISHED")
        else:
            # Lightning turns Ctrl-C into SystemExit, and its SIGTERMException is one.
            interrupted = issubclass(kind, KeyboardInterrupt | SystemExit)
            self.close("KILLED" if interrupted else "FAILED")

    # --- what is recorded -------------------------------------------------------------------

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers: ``val/...`` at their epoch, counted from 1, all others at ``step``."""
        if self._writer is None:
            return
        time_ms = _now_ms()
        values = dict(metrics)
        # Lightning adds the epoch, counted from 0, to whatever is logged.
        epoch = values.pop("epoch", None)
        for key, value in values.items():
            at = step or 0
            if key.startswith("val/") and epoch is not None:
                at = int(epoch) + 1
            self._writer.add(Value(metric_name(key), float(value), at, time_ms))

    @rank_zero_only
    def log_config(self, config: Mapping[str, Any]) -> None:
        """Record a resolved configuration as params named as on the command line.

        Params cannot change: where a resumed run has another value, the tag ``resumed.<key>``
        holds it.
        """
        params = flatten(config)
        self._add(lambda client, run_id: _write_params(client, run_id, params))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Lightning calls this with the module's hyperparameters; ours are in the configuration."""

    @rank_zero_only
    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Record tags; those that are None are left out."""
        known = {key: str(value) for key, value in tags.items() if value is not None}

        def write(client: "MlflowClient", run_id: str) -> None:
            for key, value in known.items():
                client.set_tag(run_id, key, value)

        self._add(write)

    @rank_zero_only
    def describe(self, part: str, text: str) -> None:
        """Say what came of it in the run's description; of one part what was said last stays."""
        parts = {**self.folder.record.get("description", {}), part: text}
        self.folder.remember(description=parts)
        self.set_tags({"mlflow.note.content": "\n\n".join(parts.values())})

    @rank_zero_only
    def log_figure(self, path: Path) -> None:
        """Record a picture as an artifact, and among the run's charts."""
        self.log_artifact(path, "figures")

        def write(client: "MlflowClient", run_id: str) -> None:
            from PIL import Image

            with Image.open(path) as image:
                client.log_image(run_id, image.convert("RGB"), key=path.stem, step=0)

        self._add(write)

    @rank_zero_only
    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Record a file, or all files of a folder, as artifacts under ``folder``.

        It is copied later: it must stay as it is until the run is closed.
        """
        copy = "log_artifacts" if Path(path).is_dir() else "log_artifact"
        self._add(lambda client, run_id: getattr(client, copy)(run_id, str(path), folder))

    @rank_zero_only
    def log_model(self, checkpoint: Path) -> None:
        """Record a checkpoint as an MLflow model named ``model`` (see `tracking/serving.py`)."""
        from g5.tracking.mlflow.model import log_model

        self._add(lambda client, run_id: log_model(client, run_id, checkpoint))

    def _add(self, operation: Operation) -> None:
        if self._writer is not None:
            self._writer.add(operation)

    # --- what Lightning asks ----------------------------------------------------------------

    @property
    def name(self) -> str:
        """The experiment."""
        return self.experiment_name

    @property
    def version(self) -> str:
        """The MLflow run, or its name before it is open."""
        return self.run_id or self.run_name

    def finalize(self, status: str) -> None:
        """Nothing: Lightning says this after training, and the test is still to come."""

    # --- opening ----------------------------------------------------------------------------

    def _open(self, uri: str) -> None:
        check_answers(uri)
        from mlflow import MlflowClient

        run = self._remembered_run(uri) if self.resume else None
        if run is not None:
            client, self.run_id = run
            info = client.get_run(self.run_id).info
            self._begun_ms, self._worked_ms = info.start_time, _worked_ms(self.folder, info)
            # A test leaves the training's status as it is; it may even be running.
            if not self.folder.held:
                self._status_before = info.status
            client.update_run(self.run_id, status="RUNNING")
        else:
            client = MlflowClient(uri)
            self.run_id = self._create_run(client, uri)
            self._end_moved_run(client)
        self.tracking_uri = client.tracking_uri
        self._remember(client.tracking_uri, self.run_id)
        self._writer = RecordWriter(
            client, self.run_id, wait_s=self.server_wait_s, fall_back=self._fall_back
        )
        self._writer.start()

    def _remembered_run(self, uri: str) -> "tuple[MlflowClient, str] | None":
        """The run to continue: in the store at ``uri``, or in the root's own database.

        No other address is asked: the folder may be a stranger's.
        """
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        record = self.folder.record
        if "run_id" not in record:
            return None
        begun = record.get("tracking_uri", redacted(uri))
        places = [uri, *([self.local_uri] if begun == redacted(self.local_uri) else [])]
        for place in dict.fromkeys(places):
            try:
                if place != uri:
                    check_answers(place, create=False)
                client = MlflowClient(place)
                client.get_run(record["run_id"])
            except (MlflowException, OSError, sqlite3.Error):
                continue
            if redacted(place) != redacted(uri):
                say(f"MLflow: the run goes on where it was begun, in {redacted(place)}")
            return client, record["run_id"]
        at = "" if begun == redacted(uri) else f" (begun in {begun}: logger.tracking_uri=...)"
        say(f"MLflow: run {record['run_id']} is not in {redacted(uri)}{at}; recording a new one")
        return None

    def _create_run(self, client: "MlflowClient", uri: str) -> str:
        experiment_id = self._experiment(client, uri)
        tags = {"mlflow.user": _user(), "mlflow.source.name": "g5", "mlflow.source.type": "LOCAL"}
        if self.parent is not None:
            tags["mlflow.parentRunId"] = parent_run(client, experiment_id, self.parent, tags)
        # Of a run that a server has lost, when it was begun there.
        run = client.create_run(
            experiment_id, self._begun_ms or None, tags=tags, run_name=self.run_name
        )
        self._begun_ms = run.info.start_time
        return run.info.run_id

    def _experiment(self, client: "MlflowClient", uri: str) -> str:
        from mlflow.exceptions import MlflowException

        # As a URI: MLflow decodes plain paths too, and a folder may be called "100%".
        place = (self.root / "outputs" / "mlflow_artifacts" / self.experiment_name).as_uri()
        found = client.get_experiment_by_name(self.experiment_name)
        if found is None:
            location = None if is_remote(uri) else place
            try:
                return client.create_experiment(
                    self.experiment_name, artifact_location=location, tags=TRAINS
                )
            except MlflowException:
                # Another run made it in the meantime, or it is a real error again.
                found = client.get_experiment_by_name(self.experiment_name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
            say(f"MLflow: the experiment {self.experiment_name} was deleted; it is restored")
        if uri == self.local_uri and found.artifact_location != place:
            say(
                f"MLflow: the experiment {self.experiment_name} was made elsewhere, and artifacts "
                f"still go to {found.artifact_location}; another name=... has them here"
            )
        return found.experiment_id

    def _end_moved_run(self, client: "MlflowClient") -> None:
        """An earlier run that was killed by SIGKILL could not say so: say it now."""
        from mlflow.exceptions import MlflowException

        record = read_record(self.folder.moved) if self.folder.moved else {}
        here = record.get("tracking_uri") == redacted(client.tracking_uri)
        if self.folder.moved and here and record.get("status") == "RUNNING":
            try:
                info = client.get_run(record["run_id"]).info
                ended_ms = info.start_time + _worked_ms(RunFolder(self.folder.moved), info)
                client.set_terminated(record["run_id"], "KILLED", ended_ms)
            except MlflowException as error:
                say(f"MLflow: the earlier run cannot be marked as killed ({short(error)})")

    def _remember(self, uri: str, run_id: str) -> None:
        self._opened_ms = self._opened_ms or _now_ms()
        self.folder.remember(
            run_id=run_id, tracking_uri=redacted(uri), experiment=self.experiment_name,
            status="RUNNING", worked_ms=self._worked_ms, opened_ms=self._opened_ms,
        )  # fmt: skip

    def _fall_back(self, error: Exception) -> "tuple[MlflowClient, str] | None":
        """A local run for what a server no longer takes; None if there is no hope."""
        from mlflow import MlflowClient

        if not is_remote(self.tracking_uri):
            say(f"MLflow: {self.local_uri} cannot be written ({short(error)}); recording stops")
            return None
        gone, gone_run = redacted(self.tracking_uri), self.run_id
        say(
            f"MLflow: {gone} no longer answers ({short(error)}); the whole record goes on in "
            f"{self.local_uri}"
        )
        self.tracking_uri = self.local_uri
        try:
            check_answers(self.local_uri)
            client = MlflowClient(self.local_uri)
            self.run_id = self._create_run(client, self.local_uri)
            client.set_tag(self.run_id, "begun_in", f"{gone} run {gone_run}")
            self._remember(self.local_uri, self.run_id)
        except Exception as local_error:
            say(f"MLflow: {self.local_uri} cannot be used ({short(local_error)}) either")
            return None
        return client, self.run_id


def _now_ms() -> int:
    return int(time.time() * 1000)


def _worked_ms(folder: RunFolder, info: Any) -> int:
    """How long the sessions of an MLflow run have worked, ms.

    One that was killed by SIGKILL could not say when; its last checkpoint or epoch does.
    """
    record = folder.record
    if record.get("status") == "RUNNING" and "opened_ms" in record:
        files = [*folder.checkpoints.glob("*"), folder.path / "history.csv"]
        last_s = max((file.stat().st_mtime for file in files if file.exists()), default=0.0)
        return record["worked_ms"] + max(0, int(1000 * last_s) - record["opened_ms"])
    return info.end_time - info.start_time if info.end_time else 0


def _write_params(client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    fresh = [Param(key, value) for key, value in params.items() if key not in known]
    for start in range(0, len(fresh), MAX_PARAMS):
        client.log_batch(run_id, params=fresh[start : start + MAX_PARAMS])
    for key, value in params.items():
        if known.get(key, value) != value:
            client.set_tag(run_id, f"resumed.{key}", value)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for the user's number
        return str(os.getuid())
