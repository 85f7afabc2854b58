"""`g5 capacity`."""

import click

from g5.cli.arguments import OVERRIDES, Architectures, check_training


@click.command()
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
    check_training([f"arch={arch}", *overrides])
    from g5.runs.capacity import capacity as draw_capacity

    draw_capacity(arch, widths, list(overrides))
