"""The MLflow run that a multirun's jobs and a sweep's trials are the children of."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from g5.common.atomic import one_at_a_time, write_json
from g5.common.secrets import redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

RECORD = "parent.json"


def parent_run(
    client: "MlflowClient", experiment_id: str, folder: Path, tags: Mapping[str, str]
) -> str:
    """The id of the run that stands for all in ``folder``, made by the first that asks.

    It says FINISHED from the beginning: no job knows whether it is the last.
    """
    from mlflow.exceptions import MlflowException

    place, record = redacted(client.tracking_uri), folder / RECORD
    with one_at_a_time(folder / f".{RECORD}.lock"):
        known = _read(record)
        try:
            if known.get("tracking_uri") == place:
                return client.get_run(known["run_id"]).info.run_id
        except MlflowException:
            pass  # it was deleted there
        run = client.create_run(experiment_id, tags=dict(tags), run_name=folder.name)
        run_id = run.info.run_id
        client.set_terminated(run_id)
        write_json(record, {"run_id": run_id, "tracking_uri": place})
        return run_id


def _read(record: Path) -> dict[str, str]:
    try:
        found = json.loads(record.read_text("utf-8"))
        return {key: str(found[key]) for key in ("run_id", "tracking_uri")}
    except (OSError, ValueError, LookupError, TypeError):
        return {}
