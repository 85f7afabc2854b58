"""Verbs that train and test: train, test, shots, compare, capacity, ui."""

import os
import sys
from pathlib import Path

import click

from g5.cli.shared import OVERRIDES, PASS_THROUGH, Architectures

# Options that Hydra answers: what would be run, and where each value comes from.
HYDRAS_OWN = ("--cfg", "-c", "--info", "-i", "--resolve", "--package", "-p")


@click.command(context_settings=PASS_THROUGH)
@click.argument("arch", type=Architectures())
@click.option("--exp-name", metavar="NAME", help="The run's folder, outputs/<name>/NAME/.")
@click.option(
    "-m", "--multirun", is_flag=True, help="Run every combination of comma-separated values."
)
@click.argument("overrides", **OVERRIDES)
def train(arch: str, exp_name: str | None, multirun: bool, overrides: tuple[str, ...]) -> None:
    """Train an architecture of conf/arch/, then test it on species it has never heard.

    \b
    g5 train v2
    g5 train v1 --exp-name my_run arch.training.max_epochs=10 seed=7
    g5 train v1,v2 -m seed=1,2,3
    g5 train v2 resume=true
    g5 train v2 data=dcase path.train_dir=DIR path.eval_dir=DIR path.test_dir=DIR
    """
    from archs.train import launch

    if "," in arch and not multirun:
        raise click.UsageError(f"{arch} is several runs: add -m")
    if again := [text for text in overrides if text.startswith("arch=")]:
        raise click.UsageError(f"{again[0]}: the architecture is named already, {arch}")
    for text in overrides:
        if text.startswith("-") and text.split("=")[0] not in HYDRAS_OWN:
            raise click.NoSuchOption(text.split("=")[0])
    values = {} if exp_name is None else {"exp_name": exp_name}
    launch([f"arch={arch}", *overrides], values, multirun=multirun)


@click.command(context_settings=PASS_THROUGH)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("overrides", **OVERRIDES)
def test(checkpoint: Path, overrides: tuple[str, ...]) -> None:
    """Test a checkpoint on episodes of classes it was not trained on.

    Starts from the checkpoint's own configuration. Architecture, model and front end are fixed;
    data, protocol, trainer and logger may be overridden.

    \b
    g5 test outputs/protonet_baseline/v2_run/checkpoints/best_checkpoint.ckpt
    g5 test CKPT data=clips path.train_dir=clips.csv data.split=test arch.episodes.n_way=5
    """
    from g5.runs.test import evaluate_checkpoint

    evaluate_checkpoint(checkpoint, list(overrides))


@click.command(context_settings=PASS_THROUGH)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("overrides", **OVERRIDES)
def shots(checkpoint: Path, overrides: tuple[str, ...]) -> None:
    """Test a checkpoint at 1, 2, 5, 10 and 20 shots, on the same classes and queries.

    \b
    g5 shots outputs/protonet_baseline/v2_run/checkpoints/best_checkpoint.ckpt
    g5 shots CKPT arch.episodes.n_way=5 arch.episodes.n_query=2
    """
    from g5.runs.shots import shots_of_checkpoint

    shots_of_checkpoint(checkpoint, list(overrides))


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--folds", is_flag=True, help="Runs of data.fold=0,1,... are one cross-validation.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the figures.")
@click.option("--mlflow/--no-mlflow", default=True, help="Record it where there is an MLflow.")
def compare(runs: tuple[str, ...], folds: bool, output: Path | None, mlflow: bool) -> None:
    """Say whether tested runs differ, paired over the same test episodes.

    A RUN is a run's folder, a multirun's folder (all its jobs), a run's name or an MLflow run id.
    Runs that differ only in the seed count as one.

    \b
    g5 compare v1_run v2_run
    g5 compare --folds outputs/protonet_baseline/v1_cv outputs/protonet_baseline/v2_cv
    """
    from g5.runs.compare import compare_runs

    compare_runs(runs, folds=folds, output=output, mlflow=mlflow)


@click.command(context_settings=PASS_THROUGH)
@click.argument("arch", type=Architectures())
@click.option(
    "--widths", default="0.25,0.5,1,2", show_default=True, help="Factors on arch.model.channels."
)
@click.argument("overrides", **OVERRIDES)
def capacity(arch: str, widths: str, overrides: tuple[str, ...]) -> None:
    """Train an architecture at several widths and draw its error over width.

    A run of its own for each width; what was finished is not done again.

    \b
    g5 capacity v1
    g5 capacity v2 --widths 0.5,1 experiment=demo
    """
    from g5.runs.capacity import capacity as draw_capacity

    draw_capacity(arch, widths, list(overrides))


@click.command()
@click.option("--port", default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Open MLflow on the runs of the current directory, at http://127.0.0.1:PORT.

    \b
    g5 ui --port 5001
    """
    from g5.tracking.mlflow_places import local_uri, redacted

    uri = os.environ.get("MLFLOW_TRACKING_URI") or local_uri(Path.cwd())
    click.echo(f"MLflow on {redacted(uri)}: http://127.0.0.1:{port} (Ctrl-C ends it)")
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--port",
        str(port),
        "--backend-store-uri",
        uri,
    ]
    os.execv(sys.executable, command)


VERBS = (train, test, shots, compare, capacity, ui)
