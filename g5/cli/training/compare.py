"""`g5 compare`."""

from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--folds", is_flag=True, help="Runs of data.fold=0,1,... are one cross-validation.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the page.")
@click.option("--mlflow/--no-mlflow", default=True, help="Record it where there is an MLflow.")
def compare(runs: tuple[str, ...], folds: bool, output: Path | None, mlflow: bool) -> None:
    """Say whether tested runs differ, paired over the same test episodes.

    A RUN is a run's folder, a multirun's folder (all its jobs), a run's name or an MLflow run id.
    Runs that differ only in the seed count as one.

    \b
    g5 compare v1_run v2_run
    g5 compare --folds outputs/protonet_baseline/v1_cv outputs/protonet_baseline/v2_cv
    """
    from g5.evaluation.compare.command import compare_runs

    compare_runs(runs, folds=folds, output=output, mlflow=mlflow)
