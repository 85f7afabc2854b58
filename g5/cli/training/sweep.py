"""`g5 sweep`."""

import click

from g5.cli.arguments import OVERRIDES, Architectures


@click.command()
@click.argument("arch", type=Architectures())
@click.argument("overrides", **OVERRIDES)
def sweep(arch: str, overrides: tuple[str, ...]) -> None:
    """Search for the best settings; goes on where it was stopped. Needs: pip install "g5[sweep]".

    Lists, ranges and intervals are searched; how is said by conf/sweep.yaml. The same command in
    further processes or on further machines joins in.

    \b
    g5 sweep v2 'arch.training.learning_rate=tag(log,interval(1e-4,1e-2))'
    g5 sweep v1 'arch.model.dropout=0,0.1,0.3' budget=minutes sweep.trials=12 sweep.workers=2
    g5 sweep v1,v2 'features.hop_mel=range(128,513,128)' exp_name=hops
    """
    from g5.common.errors import needs

    with needs("g5 sweep needs Optuna", "sweep"):
        import optuna  # noqa: F401
    from g5.runs.sweep import sweep as search

    search([f"arch={arch}", *overrides])
