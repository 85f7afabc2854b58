"""A real `mlflow server` that is killed in the middle of a run and started again."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from g5.tracking.checkpoints import save
from g5.tracking.mlflow import writer as mlflow_writer
from g5.tracking.mlflow.places import check_answers, quiet_mlflow
from tests.tracking.test_checkpoints import checkpoint
from tests.tracking.test_mlflow_logger import logger_of, released, take, wait_for

__all__ = ["released"]


class RealServer:
    """`mlflow server` on a free port, with SQLite and an artifact root under ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
            "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.root / 'server.db'}",
            "--artifacts-destination", str(self.root / "artifacts"),
        ]  # fmt: skip
        with (self.root / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.root, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self.answers, seconds=120)

    def answers(self) -> bool:
        try:
            check_answers(self.uri)
        except OSError:
            return False
        return True

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path, monkeypatch) -> Iterator[RealServer]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(mlflow_writer, "FLUSH_S", 0.02)
    quiet_mlflow()
    found = RealServer(tmp_path)
    yield found
    found.kill()


@pytest.mark.slow
def test_nothing_is_lost_when_the_server_is_killed_and_started_again(
    server: RealServer, tmp_path: Path, capsys
) -> None:
    from mlflow import MlflowClient

    root = tmp_path / "project"
    folder = take(root)
    folder.config_file.write_text("a: 1\n")
    best = folder.checkpoints / "best_checkpoint.ckpt"
    save(checkpoint(), best)
    client = MlflowClient(server.uri)
    with logger_of(root, folder, tracking_uri=server.uri, server_wait_s=300.0) as logger:
        run_id = logger.run_id
        assert run_id is not None
        logger.log_config({"seed": 1})
        for step in range(20):
            logger.log_metrics({"train/loss": 1.0 / (step + 1)}, step=step)
        wait_for(lambda: "train/loss" in client.get_run(run_id).data.metrics)
        server.kill()
        for step in range(20, 40):
            logger.log_metrics({"train/loss": 1.0 / (step + 1)}, step=step)
        logger.set_tags({"late": "yes"})
        logger.log_artifact(folder.config_file)
        logger.log_model(best)
        wait_for(lambda: logger._writer and logger._writer._away, seconds=60)
        server.start()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "1"}
    assert run.data.tags["late"] == "yes"
    values = client.get_metric_history(run_id, "train/loss")
    assert [value.step for value in values] == list(range(40))
    assert [artifact.path for artifact in client.list_artifacts(run_id)] == ["config.yaml"]
    models = client.search_logged_models([run.info.experiment_id])
    assert [str(model.status) for model in models] == ["READY"]
    assert not (root / "mlflow.db").exists()
    told = capsys.readouterr().err.splitlines()
    assert ["does not answer" in told[0], "answers again" in told[1]] == [True, True]
