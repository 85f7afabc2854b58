"""`g5 label`."""

from collections.abc import Mapping
from pathlib import Path

import click

from g5.cli.arguments import FILE, OVERRIDES, STORE, with_columns


@click.command()
@click.argument("store", **STORE)
@click.option("--classes", type=FILE, help="Class names, one a line.")
@click.option("--port", default=0, help="Port on 127.0.0.1; by default any that is free.")
@click.option("--browser/--no-browser", default=True, help="Open the page in your browser.")
@click.option("--hide-names", is_flag=True, help="Do not show what recordings are called.")
@click.option(
    "--export",
    type=click.Choice(["raven", "csv", "audacity"]),
    help="Write the labels instead, to -o (a folder for audacity).",
)
@click.option(
    "--simulate",
    type=FILE,
    metavar="LABELS",
    help="Compare the strategies on clips whose labels are known instead.",
)
@with_columns
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Where --export writes.")
@click.argument("overrides", **OVERRIDES)
def label(
    store: Path,
    classes: Path | None,
    port: int,
    browser: bool,
    hide_names: bool,
    export: str | None,
    simulate: Path | None,
    columns: Mapping[str, str] | None,
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
    if export and simulate:
        raise click.UsageError("--export or --simulate, not both")
    if export and out is None:
        raise click.UsageError(f"--export {export} needs -o FILE (a folder for audacity)")
    from g5.config.settings import load_transfer

    settings = load_transfer(overrides, reads=("simulate",) if simulate else ("label",))
    from g5.transfer.label_table import check_labels

    if simulate:
        check_labels(simulate, "single", columns)
    from g5.transfer.labelling.serve import label as run

    run(
        store, settings, classes=classes, port=port, browser=browser, hide_names=hide_names,
        export=export, simulate=simulate, out=out, columns=columns,
    )  # fmt: skip
