"""`g5 embed`."""

import sys
from pathlib import Path

import click

from g5.cli.arguments import (
    check_encoder,
    check_recordings,
    into_store,
    paths_and_overrides,
    with_check,
)


@click.command()
@click.argument("encoder")
@click.argument("recordings", nargs=-1, required=True)
@into_store
@click.option(
    "--audio-root", type=click.Path(path_type=Path), metavar="DIR",
    help="What file names in the store are relative to.  [default: the recordings' folder]",
)  # fmt: skip
@with_check
def embed(
    encoder: str,
    recordings: tuple[str, ...],
    output: Path,
    audio_root: Path | None,
    check: bool,
) -> None:
    """Turn recordings into embeddings; goes on where it was stopped.

    RECORDINGS are files, folders, patterns ("rec/**/*.wav") or a .txt with a path in each row.

    ENCODER is a .ckpt or .onnx file, a name that `g5 encoders` lists, or the import path of a
    class of your own; the current directory is importable.

    \b
    g5 embed best_checkpoint.ckpt recordings/ -o birds.store
    g5 embed mel_cnn recordings/ -o birds.store embed.hop_s=0.5
    g5 embed my_pkg.models.MyEncoder call.wav -o birds.store encoder.embedding_dim=512
    """
    from g5.config.settings import load_transfer

    paths, overrides = paths_and_overrides(recordings)
    settings = load_transfer(overrides, reads=("encoder", "embed", "engine"))
    check_encoder(encoder, overrides)
    for path in paths:
        check_recordings(path)
    from g5.embeddings.embed_files import embed as run

    sys.exit(run(encoder, paths, output, settings, overrides, audio_root, check=check))
