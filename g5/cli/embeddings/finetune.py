"""`g5 finetune`."""

from collections.abc import Mapping
from pathlib import Path

import click

from g5.cli.arguments import OVERRIDES, check_encoder, with_columns, with_labels


@click.command()
@click.argument("encoder")
@with_labels
@with_columns
@click.option(
    "--audio-root", type=click.Path(path_type=Path), metavar="DIR",
    help="What file names in the table are relative to.  [default: the table's folder]",
)  # fmt: skip
@click.option("--exp-name", default="finetune", show_default=True, metavar="NAME")
@click.argument("overrides", **OVERRIDES)
def finetune(
    encoder: str,
    labels: Path,
    columns: Mapping[str, str] | None,
    audio_root: Path | None,
    exp_name: str,
    overrides: tuple[str, ...],
) -> None:
    """Train a head, then the encoder with small learning rates, block by block from the last.

    \b
    g5 finetune best_checkpoint.ckpt --labels labels.csv
    g5 finetune mel_cnn --labels labels.csv finetune.epochs=20 finetune.learning_rate=0.0005
    """
    from g5.config.settings import load_transfer

    settings = load_transfer(overrides, reads=("encoder", "finetune", "logger", "path"))
    check_encoder(encoder, overrides)
    from g5.transfer.label_table import check_labels

    check_labels(labels, settings.finetune.task, columns)
    from g5.transfer.finetune_run import finetune as run

    run(encoder, labels, audio_root, exp_name, settings, overrides, columns=columns)
