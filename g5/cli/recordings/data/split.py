"""`g5 data split`."""

from pathlib import Path
from typing import Any

import click

from g5.cli.arguments import with_columns


@click.command()
@click.argument("clips", type=click.Path(path_type=Path), metavar="CLIPS.csv")
@with_columns
@click.option("--by", metavar="COLUMN", help="Values of this column stay together; label: classes.")
@click.option("--stratified/--plain", default=True, help="Keep the classes' shares alike.")
@click.option("--val", default=0.2, show_default=True, help="Share of the clips for validation.")
@click.option("--test", default=0.2, show_default=True, help="Share of the clips for the test.")
@click.option("--folds", type=int, help="Number of folds, each of which is tested once.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.csv")
@click.option("--mlflow/--no-mlflow", default=True, help="Record it where there is an MLflow.")
def split(clips: Path, output: Path, stratified: bool, **how: Any) -> None:
    """Part a list of clips (file,label,...) into train, val and test, and into folds.

    \b
    g5 data split clips.csv -o split.csv                            stratified, clip by clip
    g5 data split clips.csv --by source --folds 5 -o split.csv      sources stay together
    g5 data split clips.csv --by label --folds 5 -o split.csv       by classes, for few-shot
    """
    from g5.data.split import split_clips

    split_clips(clips, output, stratify=stratified, **how)
