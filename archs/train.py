"""The shared entry point, `python archs/train.py arch=v2 ...`: Hydra around `g5.runs.train.run`.

It stands beside `main` in the layers and lives here only because its name is the owner's.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from g5.common.atomic import disk_errors
from g5.common.errors import UserError, line_of
from g5.common.secrets import redacted
from g5.common.terminal import end_with_terminal, speak_utf8
from g5.config.choices import CONF
from g5.config.compose import override_errors, readable, resolve
from g5.config.settings import Settings, checked
from g5.tracking.folders import find

# What the processes of distributed training are told beside their command line.
VALUES, JOB = "G5_VALUES", "G5_JOB"
TRACKING_URI = "MLFLOW_TRACKING_URI"


def launch(
    overrides: Sequence[str],
    values: Mapping[str, Any] | None = None,
    *,
    multirun: bool = False,
    ask: bool = False,
) -> None:
    """Run `conf/config.yaml` with ``overrides`` under Hydra.

    Args:
        overrides: ``key=value`` in Hydra's grammar, and Hydra's own flags.
        values: keys set on the composed configuration as they are: what a user typed as an
            option or a path may hold ``=``, ``[`` or umlauts, which the grammar refuses.
        multirun: Hydra's ``-m``. A job that fails does not stop the others.
        ask: before a training of hours on a CPU, ask whoever sits at the terminal.

    Raises:
        UserError: what a single run got wrong, or how many jobs of several failed.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf

    values = dict(values or json.loads(os.environ.get(VALUES, "{}")))
    failures: list[UserError] = []

    def task(config: DictConfig) -> None:
        for key, value in values.items():
            OmegaConf.update(config, key, value)
        many = (state := HydraConfig.get()).mode == RunMode.MULTIRUN
        job = int(state.job.num) if many else _parents_job()
        overrides = list(state.overrides.task)
        # Distributed training starts its other processes with this command line.
        sys.argv = [__file__, *overrides]
        os.environ[VALUES] = json.dumps(values)
        if many:
            os.environ[JOB] = str(job)
            print(redacted(f"\njob {job}: {' '.join(overrides)}"))
        try:
            settings = _settings_of(config)
            from g5.runs.train import run

            run(settings, job=job, overrides=overrides, values=values, ask=ask and not many)
        except UserError as error:
            # Not raised in here: Hydra would print a line of its own, and end the other jobs.
            failures.append(error)
            if many:
                _tell(state.launcher, f"job {job}: {error}")

    with override_errors(), disk_errors(Path.cwd()), _own_process_state():
        flags, typed = (["-m"], _without_password(overrides)) if multirun else ([], overrides)
        sys.argv = [__file__, *flags, *readable(typed)]
        # Hydra then hands exceptions on, and they are put in one line here.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(task)()
    if len(failures) == 1 and not multirun:
        raise failures[0]
    if failures:
        raise UserError(f"{len(failures)} jobs failed; the lines above say why")


def _tell(launcher: Any, message: str) -> None:
    """Say why a job failed; of one in a process of its own, to who waits for all of them, too."""
    print(f"error: {message}", file=sys.stderr)
    if not str(launcher._target_).endswith(".BasicLauncher"):
        raise UserError(message)


def _settings_of(config: Any) -> Settings:
    """What can be wrong with paths and keys is said before PyTorch is imported."""
    if isinstance(weights := config.arch.training.load_weight_from, str):
        find(weights)
    return checked(resolve(config))


def _without_password(overrides: Sequence[str]) -> list[str]:
    """A tracking address with a password goes by the environment: Hydra notes what was typed."""
    kept = []
    for text in overrides:
        key, _, value = text.partition("=")
        if key == "logger.tracking_uri" and redacted(value) != value:
            os.environ[TRACKING_URI] = value.strip("'\"")
        else:
            kept.append(text)
    return kept


@contextmanager
def _own_process_state() -> Iterator[None]:
    """What this run sets for its child processes is no setting of the next run in this process."""
    names, argv = (VALUES, JOB, TRACKING_URI, "HYDRA_FULL_ERROR"), sys.argv
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        sys.argv = argv
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _parents_job() -> int | None:
    """The multirun job that a process of distributed training belongs to."""
    number = os.environ.get(JOB)
    return int(number) if number is not None else None


def main() -> None:
    """`python archs/train.py`: any error is one line, exit code 1."""
    speak_utf8()
    end_with_terminal()
    try:
        launch(sys.argv[1:])
    except Exception as error:
        print(f"error: {line_of(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped; go on with resume=true", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
