"""The `g5` command itself: its sections, its help and its version."""

import click

from g5.cli.groups import PackageGroup

SECTIONS = {
    "Train and test": "g5.cli.training",
    "Recordings": "g5.cli.recordings",
    "Events in long recordings": "g5.cli.events",
    "Embeddings and heads": "g5.cli.embeddings",
    "Look, listen, label": "g5.cli.exploring",
}


def show_version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    """Print the version, and the git revision where the code lies in a repository."""
    if not asked or ctx.resilient_parsing:
        return
    from g5 import __version__
    from g5.common.revision import git_revision

    revision = git_revision()
    click.echo(f"g5, version {__version__}" + (f", git {revision}" if revision else ""))
    ctx.exit()


@click.group(
    cls=PackageGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version,
    help="Show the version and exit.",
)  # fmt: skip
def main() -> None:
    """Few-shot bioacoustics: recordings in, a trained few-shot encoder out.

    \b
    g5 train v2 experiment=demo      a first run, in minutes, with no data of your own
    g5 test CKPT                     how good is it, on species it has never heard
    g5 ui                            compare the runs in MLflow
    g5 embed CKPT recordings/ -o birds.store       then classify, predict, finetune

    Every KEY=VALUE is a key of conf/; a mistyped one is an error that suggests the right one.
    """
    import logging

    from g5.common.terminal import end_with_terminal

    end_with_terminal()
    # What PyTorch says where there is no triton, which only a GPU needs.
    logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
