"""`g5 pretrain`."""

import click

from g5.cli.arguments import OVERRIDES, check_training


@click.command()
@click.argument("overrides", **OVERRIDES)
def pretrain(overrides: tuple[str, ...]) -> None:
    """Make an encoder from an endless world of invented species; goes on where it was stopped.

    \b
    g5 pretrain
    g5 pretrain exp_name=small pretrain.recipe.steps=2000 arch.model.channels=[16,32,64,128]
    g5 pretrain exp_name=more arch.training.load_weight_from=default pretrain.world.seed=1
    """
    from g5.config.compose import composed
    from g5.config.settings import group_of

    composed([text for text in overrides if group_of(text) == "pretrain"], "pretrain")
    others = [text for text in overrides if group_of(text) != "pretrain"]
    check_training(["experiment=pretrained", *others])
    from g5.runs.pretrain import pretrain as make

    make(list(overrides))
