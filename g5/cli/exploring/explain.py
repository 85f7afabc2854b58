"""`g5 explain`."""

from pathlib import Path

import click

from g5.cli.arguments import CHECKPOINT, OVERRIDES, check_clip


@click.command()
@click.argument("checkpoint", type=CHECKPOINT)
@click.argument("clip", metavar="CLIP")
@click.option("--like", multiple=True, metavar="CLIP", help="Examples of the class; repeatable.")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="PNG", help="The figure.")
@click.argument("overrides", **OVERRIDES)
def explain(
    checkpoint: Path,
    clip: str,
    like: tuple[str, ...],
    out: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Which times and frequencies of a clip (FILE or FILE:START-END) drive the decision.

    \b
    g5 explain default call.wav:12.3-12.9 --like owl1.wav --like owl2.wav
    g5 explain best_checkpoint.ckpt call.wav explain.method=gradients
    """
    from g5.config.settings import load_transfer
    from g5.config.stored import classes_named

    settings = load_transfer(overrides, reads=("encoder", "explain"))
    for text in (clip, *like):
        check_clip(text)
    from g5.transfer.explore.explain_clip import explain as run

    run(checkpoint, clip, like, out, settings.explain, settings.audio, classes_named(overrides))
