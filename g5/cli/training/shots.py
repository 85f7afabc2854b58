"""`g5 shots`."""

from pathlib import Path

import click

from g5.cli.arguments import CHECKPOINT, OVERRIDES


@click.command()
@click.argument("checkpoint", type=CHECKPOINT)
@click.argument("overrides", **OVERRIDES)
def shots(checkpoint: Path, overrides: tuple[str, ...]) -> None:
    """Test a checkpoint at 1, 2, 5, 10 and 20 shots, on the same classes and queries.

    \b
    g5 shots outputs/protonet_baseline/v2_run/checkpoints/best_checkpoint.ckpt
    g5 shots CKPT arch.episodes.n_way=5 arch.episodes.n_query=2
    """
    from g5.config.stored import check_typed_on

    check_typed_on(checkpoint, overrides)
    from g5.runs.shots import shots_of_checkpoint
    from g5.runs.tested import TestRequest

    shots_of_checkpoint(TestRequest(checkpoint, overrides))
