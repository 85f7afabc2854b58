"""`g5 review`."""

from pathlib import Path

import click

from g5.cli.arguments import FOUND, OVERRIDES


@click.command()
@click.argument("found", type=FOUND)
@click.option(
    "--page", type=click.Path(path_type=Path), metavar="HTML",
    help="Write the page as one file that can be mailed, instead; it saves answers as a table.",
)  # fmt: skip
@click.option(
    "--answers", type=click.Path(path_type=Path), metavar="FILE",
    help="Enter the answers that such a page has saved, instead.",
)  # fmt: skip
@click.option("--port", default=0, help="Port on 127.0.0.1; by default any that is free.")
@click.option("--browser/--no-browser", default=True, help="Open the page in your browser.")
@click.argument("overrides", **OVERRIDES)
def review(
    found: Path, page: Path | None, answers: Path | None, port: int, browser: bool,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Say yes or no to what g5 detect found, in the browser; what is its precision?

    FOUND is the folder of a g5 detect. Every answer is on the disk before the next event shows, and
    in FOUND/reviewed.csv; the precision stands on a sample, with its interval.

    \b
    g5 review found/
    g5 review found/ review.order=uncertain
    g5 review found/ --page review.html
    g5 review found/ --answers answers.csv
    """
    if page and answers:
        raise click.UsageError("--page or --answers, not both")
    from g5.config.settings import load_transfer

    settings = load_transfer(overrides, reads=("review",))
    from g5.detection.review.serve import review as run

    run(
        found, settings.review, settings.audio, page=page, answers=answers, port=port,
        browser=browser,
    )  # fmt: skip
