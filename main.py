"""The `g5` command: one verb per job, each a few lines that call into a room.

Heavy libraries are imported inside the verbs, so that `g5 --help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Any

import click

OVERRIDES: dict[str, Any] = {"nargs": -1, "type": click.UNPROCESSED, "metavar": "[KEY=VALUE]..."}
PASS_THROUGH = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}


class Command(click.Group):
    """Prints an error the user can put right as one line, and exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ValueError as error:
            # Imported only once something went wrong.
            from preprocessing.errors import UserError

            if not isinstance(error, UserError):
                raise
            click.echo(f"error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "stopped; what was finished is kept, and training goes on with resume=true",
                err=True,
            )
            sys.exit(130)


class Architectures(click.ParamType):
    """One architecture of `conf/arch/`, or several with commas for `-m`."""

    name = "arch"

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        from conf.choices import choices

        known = choices("arch")
        for part in value.split(","):
            if part not in known:
                self.fail(f"there is no architecture {part!r}; choose from {', '.join(known)}")
        return value

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from conf.choices import choices

        done, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(done + comma + name) for name in choices("arch") if name.startswith(last)
        ]


@click.group(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
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


@main.command(context_settings=PASS_THROUGH)
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
    values = {} if exp_name is None else {"exp_name": exp_name}
    launch([f"arch={arch}", *overrides], values, multirun=multirun)


@main.command(context_settings=PASS_THROUGH)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("overrides", **OVERRIDES)
def test(checkpoint: Path, overrides: tuple[str, ...]) -> None:
    """Test a checkpoint on episodes of classes it was not trained on.

    Starts from the checkpoint's own configuration. Architecture, model and front end are fixed;
    data, protocol, trainer and logger may be overridden.

    \b
    g5 test outputs/protonet_baseline/v2_run/checkpoints/best_checkpoint.ckpt
    g5 test CKPT data=clips path.train_dir=clips.csv data.split=test arch.episodes.n_way=5
    """
    from jobs.test import evaluate_checkpoint

    evaluate_checkpoint(checkpoint, list(overrides))


@main.command(context_settings=PASS_THROUGH)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("overrides", **OVERRIDES)
def shots(checkpoint: Path, overrides: tuple[str, ...]) -> None:
    """Test a checkpoint at 1, 2, 5, 10 and 20 shots, on the same classes and queries.

    \b
    g5 shots outputs/protonet_baseline/v2_run/checkpoints/best_checkpoint.ckpt
    g5 shots CKPT arch.episodes.n_way=5 arch.episodes.n_query=2
    """
    from jobs.shots import shots_of_checkpoint

    shots_of_checkpoint(checkpoint, list(overrides))


@main.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--folds", is_flag=True, help="Runs of data.fold=0,1,... are one cross-validation.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the figures.")
def compare(runs: tuple[str, ...], folds: bool, output: Path | None) -> None:
    """Say whether tested runs differ, paired over the same test episodes.

    A RUN is a run's folder, a multirun's folder (all its jobs), a run's name or an MLflow run id.
    Runs that differ only in the seed count as one.

    \b
    g5 compare v1_run v2_run
    g5 compare --folds outputs/protonet_baseline/v1_cv outputs/protonet_baseline/v2_cv
    """
    from jobs.compare import compare_runs

    compare_runs(runs, folds=folds, output=output)


@main.command(context_settings=PASS_THROUGH)
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
    from jobs.capacity import capacity as draw_capacity

    draw_capacity(arch, widths, list(overrides))


@main.command(context_settings=PASS_THROUGH)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("recordings", type=click.Path(path_type=Path))
@click.option(
    "--support",
    required=True,
    type=click.Path(path_type=Path),
    help="Marked calls: a Raven, Audacity, BirdNET, DCASE or plain CSV table.",
)
@click.option(
    "-o",
    "--out",
    default="found",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the results.",
)
@click.option(
    "--format",
    "formats",
    metavar="NAMES",
    help="raven, audacity, csv, dcase, parquet, with commas; by default the support's own.",
)
@click.argument("overrides", **OVERRIDES)
def detect(
    checkpoint: Path,
    recordings: Path,
    support: Path,
    out: Path,
    formats: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Find every call like a few marked ones, in one recording or a folder of them.

    Any number of species at once; predictions.csv and ledger.csv are always written. The same
    command again goes on where it stopped.

    \b
    g5 detect CKPT night.wav --support five_calls.txt -o found/
    g5 detect CKPT recordings/ --support library.csv --format raven,dcase
    g5 detect CKPT night.wav --support five_calls.txt detection=template
    """
    from jobs.detect import detect as find

    sys.exit(find(checkpoint, recordings, support, out, formats, list(overrides)))


@main.command(context_settings=PASS_THROUGH)
@click.option(
    "--check", is_flag=True, help="Verify what is stored instead; exit code 1 if damaged."
)
@click.argument("overrides", **OVERRIDES)
def features(check: bool, overrides: tuple[str, ...]) -> None:
    """Extract the features of every recording into the store (training does it when absent).

    \b
    g5 features
    g5 features features=pcen data=dcase path.train_dir=DIR path.eval_dir=DIR
    g5 features --check
    """
    from jobs.data import build_features, check_features

    sys.exit(check_features(list(overrides)) if check else build_features(list(overrides)))


@main.group()
def data() -> None:
    """Recordings and their annotations.

    \b
    g5 data check data=dcase path.train_dir=DIR
    g5 data fetch dcase2024 -o DIR
    """


@data.command("fetch")
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the set."
)
@click.option("--url", help="A mirror of Zenodo.")
def data_fetch(name: str, output: Path, url: str | None) -> None:
    """Download a public set of conf/fetch.yaml; stopped, it goes on with the same command.

    \b
    g5 data fetch dcase2024 -o dcase2024
    """
    from jobs.fetch import fetch_set

    fetch_set(name, output, url=url)


@data.command("check", context_settings=PASS_THROUGH)
@click.option("--strict", is_flag=True, help="Exit with 1 if there is any problem.")
@click.argument("overrides", **OVERRIDES)
def data_check(strict: bool, overrides: tuple[str, ...]) -> None:
    """Print what the data hold, and everything that is wrong with them.

    \b
    g5 data check
    g5 data check --strict data=raven path.train_dir=DIR path.eval_dir=DIR
    """
    from jobs.data import check_data

    sys.exit(check_data(list(overrides), strict=strict))


@data.command("split")
@click.argument("clips", type=click.Path(path_type=Path), metavar="CLIPS.csv")
@click.option("--by", metavar="COLUMN", help="Values of this column stay together; label: classes.")
@click.option("--stratified/--plain", default=True, help="Keep the classes' shares alike.")
@click.option("--val", default=0.2, show_default=True, help="Share of the clips for validation.")
@click.option("--test", default=0.2, show_default=True, help="Share of the clips for the test.")
@click.option("--folds", type=int, help="Number of folds, each of which is tested once.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.csv")
def data_split(clips: Path, output: Path, by: str | None, stratified: bool, **numbers: Any) -> None:
    """Part a list of clips (file,label,...) into train, val and test, and into folds.

    \b
    g5 data split clips.csv -o split.csv                            stratified, clip by clip
    g5 data split clips.csv --by source --folds 5 -o split.csv      sources stay together
    g5 data split clips.csv --by label --folds 5 -o split.csv       by classes, for few-shot
    """
    from jobs.split import split_clips

    split_clips(clips, output, by=by, stratify=stratified, **numbers)


@main.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.argument("ground_truth", type=click.Path(path_type=Path))
@click.option(
    "--mode",
    type=click.Choice(["fair", "official"]),
    default="fair",
    show_default=True,
    help="official: to the last digit as the published DCASE evaluator; fair: without its quirks.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Scores for scripts.")
@click.option("--report", type=click.Path(path_type=Path), help="Folder for an HTML page.")
def evaluate(
    predictions: Path, ground_truth: Path, mode: str, json_path: Path | None, report: Path | None
) -> None:
    """Score predicted events as DCASE Task 5 does, against a folder of ground truth.

    Both may be Raven, Audacity, BirdNET, DCASE, CSV or Parquet; the sub-folders of GROUND_TRUTH
    are its subsets. The first five calls of each recording are the support.

    \b
    g5 evaluate found/predictions.csv Validation_Set/
    g5 evaluate predictions.csv truth/ --mode official --json scores.json --report out/
    """
    from jobs.evaluate import evaluate_files

    evaluate_files(predictions, ground_truth, mode=mode, json_path=json_path, report_dir=report)


STORE: dict[str, Any] = {"type": click.Path(path_type=Path), "metavar": "STORE"}


@main.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="STORE",
    help="The store: made, or added to.",
)  # fmt: skip
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
def import_(
    files: tuple[Path, ...],
    output: Path,
    index: Path | None,
    encoder: str,
    audio_root: Path | None,
) -> None:
    """Import embeddings of BirdNET, Perch and others: CSV, npz, npy + CSV, Parquet, hoplite.

    \b
    g5 import birdnet_embeddings.csv -o birds.store --audio-root recordings/
    g5 import vectors.npy --index vectors.csv -o birds.store --encoder birdnet-2.4
    g5 import hoplite_folder/ -o birds.store --encoder perch-v2
    """
    from jobs.importing import import_embeddings

    sys.exit(import_embeddings(files, output, index, encoder, audio_root))


@main.command("search", context_settings=PASS_THROUGH)
@click.argument("store", **STORE)
@click.option(
    "--like", multiple=True, metavar="CLIP", help="FILE or FILE:START-END in seconds; repeatable."
)
@click.option("--unusual", is_flag=True, help="Clips far from everything known instead.")
@click.option(
    "--labels", type=click.Path(path_type=Path), metavar="CSV", help="What --unusual knows."
)
@click.option("-k", type=click.IntRange(min=1), metavar="K", help="Results.  [default: search.k]")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="HTML", help="The page.")
@click.argument("overrides", **OVERRIDES)
def search_store(
    store: Path,
    like: tuple[str, ...],
    unusual: bool,
    labels: Path | None,
    k: int | None,
    out: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Find similar sounds, or unusual ones: a table, and a page with spectrograms and sound.

    \b
    g5 search birds.store --like call.wav:12.3-12.9 -k 20
    g5 search birds.store --like call.wav search.metric=euclidean
    g5 search birds.store --unusual --labels labels.csv
    """
    from jobs.explore import similar
    from jobs.explore import unusual as find_unusual

    if unusual == bool(like):
        raise click.UsageError("say --like CLIP, or --unusual")
    if unusual:
        sys.exit(find_unusual(store, labels, k, out, list(overrides)))
    sys.exit(similar(store, like, k, out, list(overrides)))


@main.command("cluster", context_settings=PASS_THROUGH)
@click.argument("store", **STORE)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="CSV", help="The table.")
@click.argument("overrides", **OVERRIDES)
def cluster_store(store: Path, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Group the clips by k-means and HDBSCAN, and say how good the groups are.

    \b
    g5 cluster birds.store
    g5 cluster birds.store cluster.method=kmeans cluster.k=8
    """
    from jobs.explore import cluster

    sys.exit(cluster(store, out, list(overrides)))


@main.command("map", context_settings=PASS_THROUGH)
@click.argument("store", **STORE)
@click.option("--labels", type=click.Path(path_type=Path), metavar="CSV", help="Colours.")
@click.option(
    "--beside", type=click.Path(path_type=Path), multiple=True, metavar="STORE",
    help="Another store with the same clips, drawn beside: before and after.",
)  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="HTML", help="The page.")
@click.argument("overrides", **OVERRIDES)
def map_store(
    store: Path,
    labels: Path | None,
    beside: tuple[Path, ...],
    out: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Draw an interactive map: hover shows the spectrogram, a click plays the call.

    \b
    g5 map birds.store
    g5 map birds.store map.method=tsne map.dims=3
    g5 map before.store --beside after.store --labels labels.csv
    """
    from jobs.explore import draw_map

    sys.exit(draw_map([store, *beside], labels, out, list(overrides)))


@main.command("explain", context_settings=PASS_THROUGH)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("clip", metavar="CLIP")
@click.option("--like", multiple=True, metavar="CLIP", help="Examples of the class; repeatable.")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="PNG", help="The figure.")
@click.argument("overrides", **OVERRIDES)
def explain_clip(
    checkpoint: Path,
    clip: str,
    like: tuple[str, ...],
    out: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Which times and frequencies of a clip (FILE or FILE:START-END) drive the decision.

    \b
    g5 explain best_checkpoint.ckpt call.wav:12.3-12.9 --like owl1.wav --like owl2.wav
    g5 explain best_checkpoint.ckpt call.wav explain.method=gradients
    """
    from jobs.explain import explain

    sys.exit(explain(checkpoint, clip, like, out, list(overrides)))


@main.command("label", context_settings=PASS_THROUGH)
@click.argument("store", **STORE)
@click.option("--classes", type=click.Path(path_type=Path), help="Class names, one a line.")
@click.option("--port", default=0, help="Port on 127.0.0.1; by default any that is free.")
@click.option("--browser/--no-browser", default=True, help="Open the page in your browser.")
@click.option(
    "--export",
    type=click.Choice(["raven", "csv", "audacity"]),
    help="Write the labels instead, to -o (a folder for audacity).",
)
@click.option(
    "--simulate",
    type=click.Path(path_type=Path),
    metavar="LABELS",
    help="Compare the strategies on clips whose labels are known instead.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Where --export writes.")
@click.argument("overrides", **OVERRIDES)
def label_clips(
    store: Path,
    classes: Path | None,
    port: int,
    browser: bool,
    export: str | None,
    simulate: Path | None,
    out: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Label clips in the browser, the most useful first; the model learns meanwhile.

    Every label is on the disk before the next clip shows; stop whenever you like.

    \b
    g5 label birds.store --classes classes.txt
    g5 label birds.store label.strategy=margin
    g5 label birds.store --export raven -o birds.selections.txt
    g5 label birds.store --simulate labels.csv simulate.last=600
    """
    from jobs.label import export as export_labels
    from jobs.label import label, simulate_labelling

    if export and simulate:
        raise click.UsageError("--export or --simulate, not both")
    if export:
        if out is None:
            raise click.UsageError(f"--export {export} needs -o FILE (a folder for audacity)")
        sys.exit(export_labels(store, export, out))
    if simulate:
        sys.exit(simulate_labelling(store, simulate, out, list(overrides)))
    sys.exit(label(store, classes, list(overrides), port=port, browser=browser))


@main.command(context_settings=PASS_THROUGH)
@click.argument("encoder")
@click.argument("recordings", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="STORE",
    help="The store: made, or added to.",
)  # fmt: skip
@click.option(
    "--audio-root", type=click.Path(path_type=Path), metavar="DIR",
    help="What file names in the store are relative to.  [default: the recordings' folder]",
)  # fmt: skip
def embed(encoder: str, recordings: tuple[str, ...], output: Path, audio_root: Path | None) -> None:
    """Turn recordings (files or folders) into embeddings; goes on where it was stopped.

    ENCODER is a .ckpt or .onnx file, a name that `g5 encoders` lists, or the import path of a
    class of your own; the current directory is importable.

    \b
    g5 embed best_checkpoint.ckpt recordings/ -o birds.store
    g5 embed mel_cnn recordings/ -o birds.store embed.hop_s=0.5
    g5 embed my_pkg.models.MyEncoder call.wav -o birds.store encoder.embedding_dim=512
    """
    from jobs.transfer import embed as run

    paths, overrides = _split(recordings)
    run(encoder, paths, output, overrides, audio_root)


@main.command(context_settings=PASS_THROUGH)
@click.argument("stores", nargs=-1, required=True)
@click.option(
    "--labels", required=True, type=click.Path(path_type=Path), metavar="CSV",
    help="Columns file and label (or rating), and perhaps start_s, end_s, source.",
)  # fmt: skip
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
    """
    from jobs.transfer import classify as run

    paths, overrides = _split(stores)
    run(paths, labels, output, overrides, balance=balance)


@main.command(context_settings=PASS_THROUGH)
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
    from jobs.transfer import predict as run

    paths, overrides = _split(sources)
    run(head, paths, output, overrides, top)


@main.command(context_settings=PASS_THROUGH)
@click.argument("encoder")
@click.option(
    "--labels", required=True, type=click.Path(path_type=Path), metavar="CSV",
    help="Columns file and label (or rating), and perhaps start_s, end_s, source.",
)  # fmt: skip
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
    from jobs.finetune import finetune as run

    run(encoder, labels, audio_root, exp_name, list(overrides))


@main.group(invoke_without_command=True)
@click.pass_context
def encoders(ctx: click.Context) -> None:
    """List the encoders; check one of your own.

    \b
    g5 encoders
    g5 encoders check my_pkg.models.MyEncoder --head my_pkg.models.MyHead
    """
    if ctx.invoked_subcommand is None:
        from jobs.encoders import list_encoders

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
    from jobs.encoders import check

    sys.exit(check(encoder, head, list(overrides)))


@encoders.command("probe", context_settings=PASS_THROUGH)
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("overrides", **OVERRIDES)
def encoders_probe(store: Path, overrides: tuple[str, ...]) -> None:
    """How well a store's embeddings predict pitch, duration, bandwidth, centroid and MFCCs.

    \b
    g5 encoders probe birds.store
    """
    from jobs.encoders import probe

    probe(store, list(overrides))


def _split(words: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Paths, and the overrides typed after them: group.key=value, unless a file is called so."""
    from re import match

    is_override = [bool(match(r"\+?[a-z]+\.[\w.]+=", word)) for word in words]
    pairs = list(zip(words, is_override, strict=True))
    paths = [Path(word) for word, yes in pairs if not yes or Path(word).exists()]
    return paths, [word for word, yes in pairs if yes and not Path(word).exists()]


@main.command()
@click.option("--port", default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Open MLflow on the runs of the current directory, at http://127.0.0.1:PORT.

    \b
    g5 ui --port 5001
    """
    from tracking.mlflow_places import local_uri, redacted

    uri = os.environ.get("MLFLOW_TRACKING_URI") or local_uri(Path.cwd())
    click.echo(f"MLflow on {redacted(uri)}: http://127.0.0.1:{port} (Ctrl-C ends it)")
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--port",
        str(port),
        "--backend-store-uri",
        uri,
    ]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
