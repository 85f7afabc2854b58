"""`g5 export`."""

from pathlib import Path

import click

from g5.cli.arguments import OVERRIDES, check_encoder, check_head, check_store


@click.command()
@click.argument("what", metavar="HEAD|ENCODER|STORE")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.onnx",
    help="The graph, checked against PyTorch; with --hoplite a new folder.",
)  # fmt: skip
@click.option("--hoplite", is_flag=True, help="Write a STORE as a database of perch-hoplite.")
@click.argument("overrides", **OVERRIDES)
def export(what: str, output: Path, hoplite: bool, overrides: tuple[str, ...]) -> None:
    """Write an encoder, or a head with its encoder, as one ONNX file that takes waveforms.

    HEAD is a .head of g5 classify, ENCODER what g5 embed takes. The file's metadata say its rate,
    its window and its labels; g5 embed, g5 detect and, of a head, g5 predict read it.

    \b
    g5 export default -o default.onnx
    g5 export birds.head -o birds.onnx
    g5 predict birds.onnx recordings/ -o predictions.csv
    g5 export birds.store --hoplite -o hoplite_folder/
    """
    from g5.config.settings import load_transfer

    load_transfer(overrides, reads=("encoder", "head"))
    from g5.common.errors import UserError
    from preprocessing.store.settings import SETTINGS_FILE

    if hoplite:
        check_store(Path(what))
        from g5.export.hoplite import export_hoplite

        export_hoplite(Path(what), output)
        return
    if (Path(what) / SETTINGS_FILE).is_file():
        raise UserError(f"{what}: is a store, which --hoplite writes; a graph is of its encoder")
    if what.endswith(".head"):
        check_head(Path(what))
    else:
        check_encoder(what, overrides)
    from g5.export.onnx_file import export_onnx

    export_onnx(what, output, overrides)
