"""The record in MLflow: complete, continued, and never in the way of training."""

import http.server
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader

from g5.common.errors import UserError
from g5.common.secrets import redacted
from g5.config.changes import flatten
from g5.tracking import folders
from g5.tracking.checkpoints import save
from g5.tracking.folders import RunFolder, claim
from g5.tracking.mlflow import logger as mlflow_logger
from g5.tracking.mlflow import places as mlflow_places
from g5.tracking.mlflow import writer as mlflow_writer
from g5.tracking.mlflow.logger import MLflowLogger, metric_name
from g5.tracking.mlflow.places import (
    is_remote,
    local_uri,
    notice_old_mlruns,
    quiet_mlflow,
)
from g5.tracking.mlflow.ui import _trainings
from tests.conftest import ROOT
from tests.tracking.test_checkpoints import checkpoint

FIRST_USE = """
    import sys
    from g5.tracking.folders import claim
    from g5.tracking.mlflow.logger import MLflowLogger
    folder = claim(sys.argv[1], "base", "first", training=True, resume=False, job=None)
    with MLflowLogger(
        root=sys.argv[1], experiment="first", run_name="first", folder=folder, resume=False,
        tracking_uri=None, system_metrics=False, server_wait_s=0.0,
    ) as logger:
        logger.log_metrics({"train/loss": 1.0}, step=0)
"""


@pytest.fixture(scope="module")
def first_use(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A root in which MLflow was used for the first time, and all that this printed."""
    root = tmp_path_factory.mktemp("first")
    command = [sys.executable, "-c", textwrap.dedent(FIRST_USE), str(root)]
    here = str(ROOT)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    done = subprocess.run(
        command, env=environment | {"PYTHONPATH": here}, cwd=root, text=True, capture_output=True
    )
    return root, done.stdout + done.stderr


@pytest.fixture
def root(tmp_path: Path, first_use: tuple[Path, str], monkeypatch) -> Path:
    """A root with an `mlflow.db`, because making one takes seconds."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(mlflow_writer, "FLUSH_S", 0.02)
    quiet_mlflow()
    shutil.copy(first_use[0] / "mlflow.db", tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    yield
    release_all()


def release_all() -> None:
    """As if every process that trains had ended."""
    for lock in list(folders._held):
        folders._held.pop(lock).close()


def take(root: Path, *, resume: bool = False, training: bool = True) -> RunFolder:
    folder = claim(root, "base", "v1_run", training=training, resume=resume, job=None)
    (folder.path / "used").write_text("")
    return folder


def logger_of(root: Path, folder: RunFolder | None = None, **changes: Any) -> MLflowLogger:
    settings: dict[str, Any] = {
        "root": root, "experiment": "base", "run_name": "v1_run", "folder": folder or take(root),
        "resume": False, "tracking_uri": None, "system_metrics": False, "server_wait_s": 0.0,
    }  # fmt: skip
    return MLflowLogger(**settings | changes)


def client(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(local_uri(root))


def run_of(root: Path, logger: MLflowLogger) -> Any:
    return client(root).get_run(logger.run_id)


def history(root: Path, logger: MLflowLogger, key: str) -> list[tuple[int, float]]:
    found = client(root).get_metric_history(logger.run_id, key)
    return [(metric.step, metric.value) for metric in found]


# --- a local run ----------------------------------------------------------------------------


def test_first_use_is_silent_and_leaves_no_mlruns(first_use) -> None:
    root, printed = first_use
    assert printed == ""
    assert sorted(path.name for path in root.iterdir()) == ["mlflow.db", "outputs"]


def test_the_whole_record(root: Path) -> None:
    folder = take(root)
    folder.config_file.write_text("a: 1\n")
    (folder.figures / "curves ü.png").write_bytes(b"png")
    config = {"arch": {"channels": [1, 2], "x": None}, "many": {f"k{i}": i for i in range(150)}}
    with logger_of(root, folder) as logger:
        assert folder.record["status"] == "RUNNING"
        logger.log_config(config)
        logger.set_tags({"arch": "v1", "git_revision": None})
        logger.log_metrics({"train/loss": torch.tensor(0.5), "epoch": 1}, step=20)
        logger.log_metrics({"val/acc": 0.75, "epoch": 1}, step=20)
        logger.log_metrics({"test/acc@5": float("nan")})
        logger.log_artifact(folder.config_file)
        logger.log_artifact(folder.figures, "figures")
        assert (logger.name, logger.version) == ("base", logger.run_id)
        logger.finalize("success")  # Lightning, between training and test
        logger.log_metrics({"test/acc": 0.25})
    run = run_of(root, logger)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "v1_run")
    assert run.data.params["arch.channels"] == "[1, 2]"
    assert len(run.data.params) == 152
    assert run.data.tags["arch"] == "v1"
    assert "git_revision" not in run.data.tags
    assert history(root, logger, "train/loss") == [(20, 0.5)]
    assert history(root, logger, "val/acc") == [(2, 0.75)]
    assert history(root, logger, "test/acc") == [(0, 0.25)]
    assert "test/acc_5" in run.data.metrics
    artifacts = client(root).list_artifacts(logger.run_id)
    assert sorted(a.path for a in artifacts) == ["config.yaml", "figures"]
    times = {"opened_ms", "worked_ms"}
    assert {key: value for key, value in folder.record.items() if key not in times} == {
        "run_id": logger.run_id, "tracking_uri": local_uri(root), "experiment": "base",
        "status": "FINISHED",
    }  # fmt: skip


def test_artifacts_lie_under_outputs_whatever_the_root_is_called(root: Path) -> None:
    odd = root / "Größe 100% a=[1] #x"
    odd.mkdir()
    shutil.copy(root / "mlflow.db", odd)
    folder = take(odd)
    folder.config_file.write_text("a: 1\n")
    with logger_of(odd, folder, experiment="neu ü") as logger:
        logger.log_artifact(folder.config_file)
    found = list((odd / "outputs" / "mlflow_artifacts" / "neu ü").rglob("config.yaml"))
    assert len(found) == 1
    assert [a.path for a in client(odd).list_artifacts(logger.run_id)] == ["config.yaml"]


def test_a_moved_project_is_told_where_its_artifacts_go(root: Path, capsys) -> None:
    with logger_of(root):
        pass
    assert capsys.readouterr().err == ""
    moved = root / "moved"
    moved.mkdir()
    shutil.move(root / "mlflow.db", moved)
    with logger_of(moved):
        pass
    line = capsys.readouterr().err
    assert f"{(root / 'outputs').as_uri()}/mlflow_artifacts/base" in line


def test_the_model_belongs_to_the_run_and_its_experiment(root: Path, monkeypatch) -> None:
    monkeypatch.chdir(root)
    folder = take(root)
    path = folder.checkpoints / "best_checkpoint.ckpt"
    save(checkpoint(), path)
    with logger_of(root, folder) as logger:
        logger.log_model(path)
    run = run_of(root, logger)
    models = client(root).search_logged_models([run.info.experiment_id])
    assert [(m.name, m.source_run_id, str(m.status)) for m in models] == [
        ("model", logger.run_id, "READY")
    ]
    assert run.outputs.model_outputs[0].model_id == models[0].model_id
    model = Path(models[0].artifact_location.removeprefix("file://"))
    assert model.is_relative_to(root / "outputs" / "mlflow_artifacts")
    assert (model / "MLmodel").exists()
    assert not (root / "mlruns").exists()


def test_system_metrics_of_a_run_shorter_than_their_interval(root: Path) -> None:
    with logger_of(root, system_metrics=True) as logger:
        pass
    assert "system/cpu_utilization_percentage" in run_of(root, logger).data.metrics


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")],
)
def test_how_a_run_ended(root: Path, error: type[BaseException], status: str) -> None:
    logger = logger_of(root)

    def train() -> None:
        with logger:
            logger.log_metrics({"train/loss": 1.0}, step=3)
            raise error

    with pytest.raises(error):
        train()
    assert run_of(root, logger).info.status == status
    assert logger.folder.record["status"] == status
    assert history(root, logger, "train/loss") == [(3, 1.0)]


def test_a_deleted_experiment_is_restored(root: Path, capsys) -> None:
    with logger_of(root) as logger:
        pass
    release_all()
    client(root).delete_experiment(run_of(root, logger).info.experiment_id)
    with logger_of(root) as again:
        pass
    assert run_of(root, again).info.status == "FINISHED"
    assert "was deleted; it is restored" in capsys.readouterr().err


def test_further_ranks_record_nothing(root: Path, monkeypatch) -> None:
    folder = take(root)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with logger_of(root, folder) as logger:
        logger.log_metrics({"train/loss": 1.0}, step=0)
        logger.log_config({"a": 1})
    assert logger.run_id is None
    assert folder.record == {}


class Tiny(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.layer(batch.float()[:, None]).square().mean()
        self.log("train/step_loss", loss, on_step=True)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/acc", float(self.current_epoch) / 4)

    def train_dataloader(self) -> Any:
        return DataLoader(torch.arange(6), batch_size=2)  # pyright: ignore[reportArgumentType]

    val_dataloader = train_dataloader

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_under_lightning_val_counts_epochs_and_train_steps(root: Path) -> None:
    with logger_of(root) as logger:
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=2, logger=logger, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=2,
        )  # fmt: skip
        trainer.fit(Tiny())
    assert history(root, logger, "val/acc") == [(1, 0.0), (2, 0.25)]
    assert [step for step, _ in history(root, logger, "train/step_loss")] == [1, 3, 5]
    assert [step for step, _ in history(root, logger, "train/loss")] == [2, 5]
    assert "epoch" not in run_of(root, logger).data.metrics


# --- resuming -------------------------------------------------------------------------------


def test_a_resumed_run_goes_on_in_the_same_record(root: Path) -> None:
    with logger_of(root) as logger:
        logger.log_config({"max_epochs": 2, "seed": 1})
        logger.log_metrics({"val/acc": 0.5, "epoch": 0}, step=1)
    release_all()
    folder = take(root, resume=True)
    with logger_of(root, folder, resume=True) as resumed:
        assert run_of(root, resumed).info.status == "RUNNING"
        resumed.log_config({"max_epochs": 3, "seed": 1, "new": True})
        resumed.log_metrics({"val/acc": 0.75, "epoch": 1}, step=2)
    assert resumed.run_id == logger.run_id
    run = run_of(root, resumed)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"max_epochs": "2", "seed": "1", "new": "true"}
    assert run.data.tags["resumed.max_epochs"] == "3"
    assert history(root, resumed, "val/acc") == [(1, 0.5), (2, 0.75)]


def test_resuming_what_is_in_no_database_begins_a_new_record(root: Path, capsys) -> None:
    folder = take(root)
    folder.remember(run_id="0" * 32, tracking_uri="sqlite:////nowhere/mlflow.db")
    with logger_of(root, folder, resume=True) as logger:
        assert logger.run_id != "0" * 32
    assert "recording a new one" in capsys.readouterr().err
    assert not Path("/nowhere").exists()


def test_resuming_where_it_was_begun(root: Path, tmp_path_factory, capsys) -> None:
    other = tmp_path_factory.mktemp("other")
    shutil.copy(root / "mlflow.db", other)
    with logger_of(root) as logger:
        pass
    release_all()
    folder = take(root, resume=True)
    with logger_of(root, folder, resume=True, tracking_uri=local_uri(other)) as resumed:
        assert resumed.run_id == logger.run_id
    assert f"where it was begun, in {local_uri(root)}" in capsys.readouterr().err


def test_a_test_leaves_the_status_of_the_training(root: Path) -> None:
    with logger_of(root) as logger:
        tested = logger_of(root, take(root, training=False), resume=True)
        with tested:
            tested.log_metrics({"test/acc": 0.5})
        assert tested.run_id == logger.run_id
        assert run_of(root, logger).info.status == "RUNNING"
    assert history(root, logger, "test/acc") == [(0, 0.5)]
    assert run_of(root, logger).info.status == "FINISHED"


def test_an_earlier_run_that_was_shot_is_marked(root: Path) -> None:
    killed = logger_of(root)
    killed.start()  # and never closed
    release_all()
    with logger_of(root) as logger:
        assert logger.folder.moved is not None
    assert run_of(root, killed).info.status == "KILLED"


# --- servers --------------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """As much of a tracking server as the logger needs; see `mode`."""

    daemon_threads = True
    mode = "answer"  # or "hang": accept and never answer; or a path that is refused

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.never = threading.Event()
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def bodies(self, call: str) -> list[dict[str, Any]]:
        return [body for path, body in self.calls if path.endswith(call)]


RUN = {"info": {"run_id": "1" * 32, "experiment_id": "7", "artifact_uri": "/nowhere"}, "data": {}}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.answer({key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()})

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body: dict[str, Any]) -> None:
        call = urlsplit(self.path).path
        if self.server.mode == "hang":
            self.server.never.wait()
            return
        code, content = 200, {}
        if call.endswith(self.server.mode):
            code, content = 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "refused"}
        elif call.endswith("experiments/get-by-name"):
            code, content = 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}
        elif call.endswith("experiments/create"):
            content = {"experiment_id": "7"}
        elif call.endswith(("runs/create", "runs/get")):
            content = {"run": RUN}
        elif call.endswith("runs/update"):
            content = {"run_info": RUN["info"]}
        self.server.calls.append((call, body))
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(mlflow_places, "ANSWER_S", 0.5)
    found = Server()
    yield found
    found.never.set()
    found.shutdown()
    found.server_close()


def test_a_server_that_answers_gets_the_record(root: Path, server: Server, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with logger_of(root) as logger:
        logger.log_config({"a": 1})
        logger.log_metrics({"train/loss": 0.5}, step=3)
    (made,) = server.bodies("experiments/create")
    assert made["name"] == "base"
    assert "artifact_location" not in made, "it knows best where"
    assert server.bodies("log-batch")[0]["params"] == [{"key": "a", "value": "1"}]
    assert server.bodies("log-batch")[1]["metrics"][0]["step"] == 3
    assert server.bodies("runs/update")[-1]["status"] == "FINISHED"
    assert logger.folder.record["tracking_uri"] == server.uri


def test_a_dead_server_at_the_start(root: Path, server: Server, capsys) -> None:
    server.shutdown()
    server.server_close()
    start = time.perf_counter()
    uri = server.uri.replace("//", "//me:secret@")
    with logger_of(root, tracking_uri=uri) as logger:
        logger.log_metrics({"train/loss": 0.5}, step=3)
    assert time.perf_counter() - start < 10
    assert history(root, logger, "train/loss") == [(3, 0.5)]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "Connection refused" in lines[0]
    assert "secret" not in lines[0]
    assert local_uri(root) in lines[0]


def test_a_server_that_never_answers_at_the_start(root: Path, server: Server, capsys) -> None:
    server.mode = "hang"
    with logger_of(root, tracking_uri=server.uri) as logger:
        logger.log_metrics({"train/loss": 0.5}, step=3)
    assert history(root, logger, "train/loss") == [(3, 0.5)]
    assert "timed out" in capsys.readouterr().err


@pytest.mark.parametrize("end", ["hang", "close"])
def test_a_server_that_dies(root: Path, server: Server, end: str, capsys) -> None:
    folder = take(root)
    folder.config_file.write_text("a: 1\n")
    with logger_of(root, folder, tracking_uri=server.uri) as logger:
        remote_run = logger.run_id
        logger.log_config({"a": 1})
        logger.set_tags({"arch": "v1"})
        logger.log_metrics({"train/loss": 0.5}, step=3)
        wait_for(lambda: len(server.bodies("log-batch")) == 2)
        if end == "hang":
            server.mode = "hang"
        else:
            server.shutdown()
            server.server_close()
        start = time.perf_counter()
        for step in range(4, 8):
            logger.log_metrics({"train/loss": 0.25}, step=step)
            time.sleep(0.05)
        assert time.perf_counter() - start < 0.7  # training does not wait
        logger.log_artifact(folder.config_file)
    run = run_of(root, logger)
    assert run.info.status == "FINISHED"
    assert [step for step, _ in history(root, logger, "train/loss")] == [3, 4, 5, 6, 7]
    assert run.data.params == {"a": "1"}
    assert run.data.tags["arch"] == "v1"
    assert run.data.tags["begun_in"] == f"{server.uri} run {remote_run}"
    assert [a.path for a in client(root).list_artifacts(logger.run_id)] == ["config.yaml"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "no longer answers" in lines[0]
    assert folder.record["tracking_uri"] == local_uri(root)
    assert folder.record["run_id"] == logger.run_id


def test_a_server_that_is_away_for_a_while_gets_all_of_it(
    root: Path, server: Server, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(mlflow_writer, "RETRY_S", 0.05)
    with logger_of(root, tracking_uri=server.uri, server_wait_s=60.0) as logger:
        remote_run = logger.run_id
        server.mode = "hang"
        logger.log_metrics({"train/loss": 0.5}, step=3)
        wait_for(lambda: logger._writer and logger._writer._away)
        logger.log_metrics({"train/loss": 0.25}, step=4)
        server.mode = "answer"
        server.never.set()  # whoever hangs is answered nothing
    sent = [metric["step"] for body in server.bodies("log-batch") for metric in body["metrics"]]
    assert sorted(set(sent)) == [3, 4]
    assert server.bodies("runs/update")[-1]["status"] == "FINISHED"
    assert logger.run_id == remote_run
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "does not answer" in lines[0]
    assert "answers again; nothing is lost" in lines[1]


def test_a_server_that_is_away_for_too_long(root: Path, server: Server, monkeypatch, capsys):
    monkeypatch.setattr(mlflow_writer, "RETRY_S", 0.05)
    with logger_of(root, tracking_uri=server.uri, server_wait_s=0.3) as logger:
        server.shutdown()
        server.server_close()
        logger.log_metrics({"train/loss": 0.5}, step=3)
    assert history(root, logger, "train/loss") == [(3, 0.5)]
    assert run_of(root, logger).info.status == "FINISHED"
    lines = capsys.readouterr().err.splitlines()
    assert ["does not answer" in lines[0], "no longer answers" in lines[1]] == [True, True]


def test_what_a_server_refuses_is_said_and_the_rest_goes_on(
    root: Path, server: Server, capsys
) -> None:
    server.mode = "runs/set-tag"
    with logger_of(root, tracking_uri=server.uri) as logger:
        logger.set_tags({"arch": "v1"})
        logger.log_metrics({"train/loss": 0.5}, step=3)
    assert len(server.bodies("log-batch")) == 1
    assert server.bodies("runs/update")[-1]["status"] == "FINISHED"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "not recorded" in lines[0]
    assert "refused" in lines[0]


def test_the_end_does_not_wait_for_ever(root: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(mlflow_writer, "CLOSE_S", 0.2)
    released = threading.Event()

    def wait(client: Any, run_id: str) -> None:
        released.wait(30)

    with logger_of(root) as logger:
        logger._add(wait)
    released.set()
    assert "not complete after" in capsys.readouterr().err


def wait_for(condition: Any, *, seconds: float = 10) -> None:
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")


# --- a local database that cannot be used ---------------------------------------------------


@pytest.mark.parametrize("fault", ["folder", "garbage", "old"])
def test_an_unusable_database_is_one_line_before_training(root: Path, fault: str) -> None:
    database = root / "mlflow.db"
    if fault == "old":
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    else:
        database.unlink()
        database.mkdir() if fault == "folder" else database.write_text("garbage " * 100)
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"mlflow\.db cannot be used") as error:
        logger_of(root).start()
    assert time.perf_counter() - start < 10
    assert "\n" not in str(error.value)
    if fault == "old":
        assert "mlflow db upgrade" in str(error.value)


# --- small things ---------------------------------------------------------------------------


def test_old_runs_are_noticed_as_mlflow_does(root: Path, monkeypatch) -> None:
    from mlflow.tracking._tracking_service.utils import _get_default_tracking_uri

    monkeypatch.chdir(root)
    for path, old in [
        ("mlruns/models/m.txt", False),
        ("mlruns/.trash/meta.yaml", False),
        ("mlruns/12/artifacts/x", False),
        ("mlruns/12/meta.yaml", True),
    ]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("")
        assert (_get_default_tracking_uri() == "./mlruns") == old, path
        assert (notice_old_mlruns(root) is not None) == old, path
    line = notice_old_mlruns(root)
    assert line is not None
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in line


def test_configurations_are_flat_params() -> None:
    config = {"a": {"b": {"c": [1, "ü"]}, "d": None}, "e": True, "f": "text", "g": {}, "h": 1e-4}
    assert flatten(config) == {
        "a.b.c": '[1, "ü"]', "a.d": "null", "e": "true", "f": "text", "g": "{}", "h": "0.0001",
    }  # fmt: skip
    long = flatten({"x": "y" * 7000})["x"]
    assert len(long) == 6000
    assert long.endswith("y...")


def test_names_of_metrics() -> None:
    assert metric_name("val/acc") == "val/acc"
    assert metric_name("acc@5=x(ü)") == "acc_5_x_ü_"


def test_places() -> None:
    assert redacted("https://me:secret@host:1/path") == "https://host:1/path"
    assert redacted("sqlite:////a/b@c/mlflow.db") == "sqlite:////a/b@c/mlflow.db"
    assert all(map(is_remote, ("http://a", "postgresql://a", "databricks", "databricks://p")))
    assert not any(map(is_remote, ("sqlite:///x.db", "file:///x", "./mlruns", "/x")))


def test_processes_that_start_together_find_one_whole_database(tmp_path):
    code = (
        "from pathlib import Path; from g5.tracking.mlflow.places import *; quiet_mlflow();"
        "make_database(Path('mlflow.db'))"
    )
    command = [sys.executable, "-c", code]
    jobs = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(2)]
    errors = [job.communicate()[1].decode() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], errors
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM alembic_version").fetchall() == [(1,)]
        assert database.execute("SELECT count(*) FROM experiments").fetchall() == [(1,)]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


# --- what a run says of itself ---------------------------------------------------------------


def test_a_description_has_a_line_for_each_part_and_the_last_said_of_it(root):
    with logger_of(root) as logger:
        logger.describe("run", "Trains v1.")
        logger.describe("test", "50 % right.")
        logger.describe("test", "60 % right.")
    assert run_of(root, logger).data.tags["mlflow.note.content"] == "Trains v1.\n\n60 % right."


def test_a_figure_is_an_artifact_and_a_chart(root, tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "curve.png")
    with logger_of(root) as logger:
        logger.log_figure(tmp_path / "curve.png")
    kept = client(root)
    assert [one.path for one in kept.list_artifacts(logger.run_id, "figures")] == [
        "figures/curve.png"
    ]
    assert any("curve" in one.path for one in kept.list_artifacts(logger.run_id, "images"))


@pytest.mark.parametrize("killed", [False, True])
def test_the_duration_of_a_resumed_run_is_that_of_its_sessions(root, monkeypatch, killed):
    now = {"s": time.time() - 10 * 86_400}
    monkeypatch.setattr(mlflow_logger, "_now_ms", lambda: int(1000 * now["s"]))
    folder = take(root)
    first = logger_of(root, folder)
    first.start()
    begun_ms = run_of(root, first).info.start_time
    now["s"] += 600
    if killed:  # after its last checkpoint
        (folder.checkpoints / "last.ckpt").write_text("x")
        os.utime(folder.checkpoints / "last.ckpt", (now["s"], now["s"]))
        assert first._writer is not None
        first._writer.finish()
    else:
        first.close("KILLED")
    release_all()
    now["s"] += 5 * 86_400
    with logger_of(root, take(root, resume=True), resume=True) as second:
        now["s"] += 60
    info = run_of(root, second).info
    assert info.run_id == first.run_id
    assert info.end_time - begun_ms == pytest.approx(660_000, abs=2)


def test_the_ui_opens_on_the_experiment_that_was_last_trained_in(root):
    assert _trainings(local_uri(root)) == ""
    with logger_of(root) as trained:
        trained.set_tags({"job": "train"})
    release_all()
    with logger_of(root, experiment="compare") as compared:
        compared.set_tags({"job": "compare"})
    there = run_of(root, trained).info.experiment_id
    assert _trainings(local_uri(root)) == f"/#/experiments/{there}/runs"
