"""`g5 plan`."""

from collections.abc import Mapping
from pathlib import Path

import click

from g5.cli.arguments import OVERRIDES, check_encoder, check_file, with_columns


@click.command()
@click.argument("support", type=click.Path(path_type=Path))
@click.argument("recordings", type=click.Path(path_type=Path))
@click.option("--encoder", default="default", show_default=True, help="As g5 detect takes it.")
@with_columns
@click.argument("overrides", **OVERRIDES)
def plan(
    support: Path, recordings: Path, encoder: str, columns: Mapping[str, str] | None,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Will I find it? Pastes marked calls between each other and looks for them.

    Says which share is found at which level above the background, how many false alarms an hour
    there are, and which call to replace. Writes nothing but stores.

    \b
    g5 plan five_calls.txt night.wav
    g5 plan library.csv recordings/ --encoder birdnet
    """
    check_encoder(encoder, overrides, several=True)
    check_file(support)
    from g5.detection.job.request import DetectionRequest, detection_settings

    request = DetectionRequest(
        encoder, recordings, support, Path(), overrides=tuple(overrides), columns=columns
    )
    request.check()
    settings = detection_settings(overrides)
    from g5.detection.plan.plan import plan as run

    run(request, settings)
