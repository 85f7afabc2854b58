"""Verbs that look into a store: search, cluster, map, explain, label."""

import sys
from pathlib import Path

import click

from g5.cli.shared import OVERRIDES, PASS_THROUGH, STORE


@click.command("search", context_settings=PASS_THROUGH)
@click.argument("store", **STORE)
@click.option(
    "--like", multiple=True, metavar="CLIP", help="FILE or FILE:START-END in seconds; repeatable."
)
@click.option("--unusual", is_flag=True, help="Clips far from everything known instead.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="What --unusual knows, and leaves out.  [default: what is labelled in the store]",
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
    if unusual == bool(like):
        raise click.UsageError("say --like CLIP, or --unusual")
    from g5.transfer.explore.commands import similar
    from g5.transfer.explore.commands import unusual as find_unusual

    if unusual:
        sys.exit(find_unusual(store, labels, k, out, list(overrides)))
    sys.exit(similar(store, like, k, out, list(overrides)))


@click.command("cluster", context_settings=PASS_THROUGH)
@click.argument("store", **STORE)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="CSV", help="The table.")
@click.argument("overrides", **OVERRIDES)
def cluster_store(store: Path, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Group the clips by k-means and HDBSCAN, and say how good the groups are.

    \b
    g5 cluster birds.store
    g5 cluster birds.store cluster.method=kmeans cluster.k=8
    """
    from g5.transfer.explore.commands import cluster

    sys.exit(cluster(store, out, list(overrides)))


@click.command("map", context_settings=PASS_THROUGH)
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

    Clips that are far from all others are rings at its edge.

    \b
    g5 map birds.store
    g5 map birds.store map.method=tsne map.dims=3
    g5 map before.store --beside after.store --labels labels.csv
    """
    from g5.transfer.explore.commands import draw_map

    sys.exit(draw_map([store, *beside], labels, out, list(overrides)))


@click.command("explain", context_settings=PASS_THROUGH)
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
    from g5.transfer.explore.explain_clip import explain

    sys.exit(explain(checkpoint, clip, like, out, list(overrides)))


@click.command("label", context_settings=PASS_THROUGH)
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
    from g5.transfer.labelling.commands import export as export_labels
    from g5.transfer.labelling.commands import label, simulate_labelling

    if export and simulate:
        raise click.UsageError("--export or --simulate, not both")
    if export:
        if out is None:
            raise click.UsageError(f"--export {export} needs -o FILE (a folder for audacity)")
        sys.exit(export_labels(store, export, out))
    if simulate:
        sys.exit(simulate_labelling(store, simulate, out, list(overrides)))
    sys.exit(label(store, classes, list(overrides), port=port, browser=browser))


VERBS = (search_store, cluster_store, map_store, explain_clip, label_clips)
