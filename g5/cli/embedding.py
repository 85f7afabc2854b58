"""Verbs that make and use embeddings: embed, import, classify, predict, verify, finetune,
encoders."""

import sys
from pathlib import Path

import click

from g5.cli.shared import OVERRIDES, PASS_THROUGH, STORE, paths_and_overrides

into_store = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="STORE",
    help="The store: made, or added to.",
)  # fmt: skip
with_check = click.option(
    "--check", is_flag=True,
    help="Read the store first and drop what is corrupt in it, so that it is made again.",
)  # fmt: skip
with_labels = click.option(
    "--labels", required=True, type=click.Path(path_type=Path), metavar="CSV",
    help="Columns file and label (rating for task=rating), perhaps start_s, end_s, source.",
)  # fmt: skip


@click.command(context_settings=PASS_THROUGH)
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
    """Turn recordings (files or folders) into embeddings; goes on where it was stopped.

    ENCODER is a .ckpt or .onnx file, a name that `g5 encoders` lists, or the import path of a
    class of your own; the current directory is importable.

    \b
    g5 embed best_checkpoint.ckpt recordings/ -o birds.store
    g5 embed mel_cnn recordings/ -o birds.store embed.hop_s=0.5
    g5 embed my_pkg.models.MyEncoder call.wav -o birds.store encoder.embedding_dim=512
    """
    from g5.embeddings.embed_files import embed as run

    paths, overrides = paths_and_overrides(recordings)
    run(encoder, paths, output, overrides, audio_root, check=check)


@click.command(context_settings=PASS_THROUGH)
@click.argument("stores", nargs=-1, required=True)
@with_labels
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="HEAD",
    help="Where the best head goes.  [default: beside its store]",
)  # fmt: skip
@click.option(
    "--balance", is_flag=True,
    help="Show what class weights and over- and undersampling do to each class.",
)  # fmt: skip
def classify(stores: tuple[str, ...], labels: Path, output: Path | None, balance: bool) -> None:
    """Which encoder and which shallow head on your labels: same folds, one table, best one saved.

    \b
    g5 classify birds.store --labels labels.csv
    g5 classify birds.store other.store --labels labels.csv -o owls.head
    g5 classify birds.store --labels labels.csv --balance head.sampling=over
    g5 classify birds.store --labels ratings.csv classify.task=rating classify.heads=[linear,mlp]
    g5 classify birds.store --labels labels.csv head._target_=my_pkg.models.MyHead
    """
    from g5.transfer.commands import classify as run

    paths, overrides = paths_and_overrides(stores)
    run(paths, labels, output, overrides, balance=balance)


@click.command(context_settings=PASS_THROUGH)
@click.argument("store", **STORE)
@click.option(
    "--labels", required=True, type=click.Path(path_type=Path), metavar="CSV",
    help="Columns file and individual (or label), perhaps start_s, end_s, source.",
)  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="CSV", help="The pairs.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Rates for scripts.")
@click.argument("overrides", **OVERRIDES)
def verify(
    store: Path, labels: Path, out: Path | None, json_path: Path | None, overrides: tuple[str, ...]
) -> None:
    """How well embeddings tell individuals apart: pairs of clips, and the equal error rate.

    Both clips of a pair are from different sources or recordings where there are such; with the
    columns label and individual they are of one label, such as a species.

    \b
    g5 verify birds.store --labels individuals.csv
    g5 verify birds.store --labels individuals.csv verify.components=30 --json rates.json
    """
    from g5.transfer.explore.verify import verify as run

    run(store, labels, out, json_path, list(overrides))


@click.command(context_settings=PASS_THROUGH)
@click.argument("head", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="CSV",
    help="The predictions.",
)  # fmt: skip
@click.option(
    "--top", type=click.IntRange(min=1), metavar="K",
    help="Only the K with the highest rating or probability, ranked.",
)  # fmt: skip
def predict(head: Path, sources: tuple[str, ...], output: Path, top: int | None) -> None:
    """Label or rate the embeddings of a store, or recordings, with a head of `g5 classify`.

    \b
    g5 predict birds.head birds.store -o predictions.csv
    g5 predict birds.head recordings/ -o best.csv --top 20
    """
    from g5.transfer.commands import predict as run

    paths, overrides = paths_and_overrides(sources)
    run(head, paths, output, overrides, top)


@click.command(context_settings=PASS_THROUGH)
@click.argument("encoder")
@with_labels
@click.option(
    "--audio-root", type=click.Path(path_type=Path), metavar="DIR",
    help="What file names in the table are relative to.  [default: the table's folder]",
)  # fmt: skip
@click.option("--exp-name", default="finetune", show_default=True, metavar="NAME")
@click.argument("overrides", **OVERRIDES)
def finetune(
    encoder: str,
    labels: Path,
    audio_root: Path | None,
    exp_name: str,
    overrides: tuple[str, ...],
) -> None:
    """Train a head, then the encoder with small learning rates, block by block from the last.

    \b
    g5 finetune best_checkpoint.ckpt --labels labels.csv
    g5 finetune mel_cnn --labels labels.csv finetune.epochs=20 finetune.learning_rate=0.0005
    """
    from g5.transfer.finetune_run import finetune as run

    run(encoder, labels, audio_root, exp_name, list(overrides))


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@into_store
@click.option(
    "--index", type=click.Path(path_type=Path), metavar="TABLE",
    help="What the rows of an .npy are.  [default: the table of its name beside it]",
)  # fmt: skip
@click.option(
    "--encoder", default="imported", show_default=True, metavar="NAME",
    help="What made them: vectors of another name do not mix.",
)  # fmt: skip
@click.option(
    "--audio-root", type=click.Path(path_type=Path), metavar="DIR",
    help="What the file names are relative to.",
)  # fmt: skip
@with_check
def import_(
    files: tuple[Path, ...],
    output: Path,
    index: Path | None,
    encoder: str,
    audio_root: Path | None,
    check: bool,
) -> None:
    """Import embeddings of BirdNET, Perch and others: CSV, npz, npy + CSV, Parquet, hoplite.

    \b
    g5 import birdnet_embeddings.csv -o birds.store --audio-root recordings/
    g5 import vectors.npy --index vectors.csv -o birds.store --encoder birdnet-2.4
    g5 import hoplite_folder/ -o birds.store --encoder perch-v2
    """
    from g5.embeddings.import_files import import_embeddings

    sys.exit(import_embeddings(files, output, index, encoder, audio_root, check=check))


@click.group(invoke_without_command=True)
@click.pass_context
def encoders(ctx: click.Context) -> None:
    """List the encoders; check one of your own.

    \b
    g5 encoders
    g5 encoders check my_pkg.models.MyEncoder --head my_pkg.models.MyHead
    """
    if ctx.invoked_subcommand is None:
        from g5.transfer.encoder_commands import list_encoders

        list_encoders()


@encoders.command("check", context_settings=PASS_THROUGH)
@click.argument("encoder")
@click.option("--head", metavar="CLASS", help="A rating head of your own, checked with it.")
@click.argument("overrides", **OVERRIDES)
def encoders_check(encoder: str, head: str | None, overrides: tuple[str, ...]) -> None:
    """Run an encoder through its promises; exit code 1 if it breaks one.

    \b
    g5 encoders check my_pkg.models.MyEncoder
    g5 encoders check my_pkg.models.MyEncoder --head my_pkg.models.MyHead encoder.window_s=30
    """
    from g5.transfer.encoder_commands import check

    sys.exit(check(encoder, head, list(overrides)))


@encoders.command("probe", context_settings=PASS_THROUGH)
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("overrides", **OVERRIDES)
def encoders_probe(store: Path, overrides: tuple[str, ...]) -> None:
    """How well a store's embeddings predict pitch, duration, bandwidth, centroid and MFCCs.

    \b
    g5 encoders probe birds.store
    """
    from g5.transfer.encoder_commands import probe

    probe(store, list(overrides))


VERBS = (embed, import_, classify, predict, verify, finetune, encoders)
