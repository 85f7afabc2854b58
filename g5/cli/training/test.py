"""`g5 test`."""

from pathlib import Path

import click

from g5.cli.arguments import CHECKPOINT, OVERRIDES


@click.command()
@click.argument("checkpoint", type=CHECKPOINT)
@click.argument("overrides", **OVERRIDES)
def test(checkpoint: Path, overrides: tuple[str, ...]) -> None:
    """Test a checkpoint on episodes of classes it was not trained on.

    Starts from the checkpoint's own configuration. Architecture, model and front end are fixed;
    data, protocol, trainer and logger may be overridden.

    \b
    g5 test outputs/protonet_baseline/v2_run/checkpoints/best_checkpoint.ckpt
    g5 test default data=clips data.root=clips.csv data.split=test
    g5 test CKPT data=clips path.train_dir=clips.csv data.split=test arch.episodes.n_way=5
    """
    from g5.config.stored import check_typed_on

    check_typed_on(checkpoint, overrides)
    from g5.runs.test import evaluate_checkpoint
    from g5.runs.tested import TestRequest

    evaluate_checkpoint(TestRequest(checkpoint, overrides))
