"""Verbs about recordings: features, data check, fetch and split."""

import sys
from pathlib import Path
from typing import Any

import click

from g5.cli.shared import OVERRIDES, PASS_THROUGH


@click.command(context_settings=PASS_THROUGH)
@click.option(
    "--check", is_flag=True, help="Verify what is stored instead; exit code 1 if damaged."
)
@click.argument("overrides", **OVERRIDES)
def features(check: bool, overrides: tuple[str, ...]) -> None:
    """Extract the features of every recording into the store (training does it when absent).

    \b
    g5 features
    g5 features features=pcen data=dcase path.train_dir=DIR path.eval_dir=DIR
    g5 features --check
    """
    from g5.data.check import build_features, check_features

    sys.exit(check_features(list(overrides)) if check else build_features(list(overrides)))


@click.group()
def data() -> None:
    """Recordings and their annotations.

    \b
    g5 data check data=dcase path.train_dir=DIR
    g5 data fetch dcase2024 -o DIR
    """


@data.command("fetch")
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the set."
)
@click.option("--url", help="A mirror of Zenodo.")
def data_fetch(name: str, output: Path, url: str | None) -> None:
    """Download a public set of conf/fetch.yaml; stopped, it goes on with the same command.

    \b
    g5 data fetch dcase2024 -o dcase2024
    """
    from g5.data.fetch import fetch_set

    fetch_set(name, output, url=url)


@data.command("check", context_settings=PASS_THROUGH)
@click.option("--strict", is_flag=True, help="Exit with 1 if there is any problem.")
@click.argument("overrides", **OVERRIDES)
def data_check(strict: bool, overrides: tuple[str, ...]) -> None:
    """Print what the data hold, and everything that is wrong with them.

    \b
    g5 data check
    g5 data check --strict data=raven path.train_dir=DIR path.eval_dir=DIR
    """
    from g5.data.check import check_data

    sys.exit(check_data(list(overrides), strict=strict))


@data.command("split")
@click.argument("clips", type=click.Path(path_type=Path), metavar="CLIPS.csv")
@click.option("--by", metavar="COLUMN", help="Values of this column stay together; label: classes.")
@click.option("--stratified/--plain", default=True, help="Keep the classes' shares alike.")
@click.option("--val", default=0.2, show_default=True, help="Share of the clips for validation.")
@click.option("--test", default=0.2, show_default=True, help="Share of the clips for the test.")
@click.option("--folds", type=int, help="Number of folds, each of which is tested once.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.csv")
@click.option("--mlflow/--no-mlflow", default=True, help="Record it where there is an MLflow.")
def data_split(clips: Path, output: Path, stratified: bool, **how: Any) -> None:
    """Part a list of clips (file,label,...) into train, val and test, and into folds.

    \b
    g5 data split clips.csv -o split.csv                            stratified, clip by clip
    g5 data split clips.csv --by source --folds 5 -o split.csv      sources stay together
    g5 data split clips.csv --by label --folds 5 -o split.csv       by classes, for few-shot
    """
    from g5.data.split import split_clips

    split_clips(clips, output, stratify=stratified, **how)


VERBS = (features, data)
