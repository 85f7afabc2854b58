"""`g5 export`."""

from pathlib import Path

import click

from g5.cli.arguments import OVERRIDES, PASS_THROUGH, check_encoder, check_file


@click.command(context_settings=PASS_THROUGH)
@click.argument("what", metavar="HEAD|ENCODER")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.onnx",
    help="The graph, checked against PyTorch.",
)  # fmt: skip
@click.argument("overrides", **OVERRIDES)
def export(what: str, output: Path, overrides: tuple[str, ...]) -> None:
    """Write an encoder, or a head with its encoder, as one ONNX file that takes waveforms.

    HEAD is a .head of g5 classify, ENCODER what g5 embed takes. The file's metadata say its rate,
    its window and its labels; g5 embed, g5 detect and, of a head, g5 predict read it.

    \b
    g5 export default -o default.onnx
    g5 export birds.head -o birds.onnx
    g5 predict birds.onnx recordings/ -o predictions.csv
    """
    from g5.config.settings import load_transfer

    load_transfer(overrides, reads=("encoder", "head"))
    if what.endswith(".head"):
        check_file(Path(what))
    check_encoder(what)
    from g5.export.onnx_file import export_onnx

    export_onnx(what, output, overrides)
