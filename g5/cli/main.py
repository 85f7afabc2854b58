"""The `g5` command: its verbs, parted by room in `verbs/`."""

import click

from g5.cli import data, detection, embedding, exploring, training
from g5.cli.shared import Verbs

ROOMS = {
    "Train and test": training,
    "Recordings": data,
    "Events in long recordings": detection,
    "Embeddings and heads": embedding,
    "Look, listen, label": exploring,
}


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
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


for title, room in ROOMS.items():
    main.add_section(title, room.VERBS)


if __name__ == "__main__":
    main()
