"""`g5 train`."""

import sys

import click

from g5.cli.arguments import OVERRIDES, Architectures

# Options that Hydra answers: what would be run, and where each value comes from.
HYDRAS_OWN = ("--cfg", "-c", "--info", "-i", "--resolve", "--package", "-p")


@click.command(context_settings={"ignore_unknown_options": True})
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
    g5 train v2 budget=evening
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
    # Whoever chose a budget knows; a script or a queue cannot answer.
    budget = any(text.startswith("budget=") for text in overrides)
    ask = sys.stdin.isatty() and sys.stdout.isatty() and not budget
    launch([f"arch={arch}", *overrides], values, multirun=multirun, ask=ask)
