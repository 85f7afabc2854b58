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


@click.group(
    cls=PackageGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="g5")
def main() -> None:
    """Few-shot bioacoustics: recordings in, a trained few-shot encoder out.

    \b
    g5 train v2 experiment=demo      a first run, in minutes, with no data of your own
    g5 test CKPT                     how good is it, on species it has never heard
    g5 ui                            compare the runs in MLflow
    g5 embed CKPT recordings/ -o birds.store       then classify, predict, finetune

    Every KEY=VALUE is a key of conf/; a mistyped one is an error that suggests the right one.
    """


if __name__ == "__main__":
    main()
