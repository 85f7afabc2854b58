"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Any

import click

OVERRIDES: dict[str, Any] = {"nargs": -1, "type": click.UNPROCESSED, "metavar": "[KEY=VALUE]..."}
PASS_THROUGH = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}
STORE: dict[str, Any] = {"type": click.Path(path_type=Path), "metavar": "STORE"}

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


class Architectures(click.ParamType):
    """One architecture of `conf/arch/`, or several with commas for `-m`."""

    name = "arch"

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        from g5.config.choices import choices

        known = choices("arch")
        for part in value.split(","):
            if part not in known:
                self.fail(f"there is no architecture {part!r}; choose from {', '.join(known)}")
        return value

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from g5.config.choices import choices

        done, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(done + comma + name) for name in choices("arch") if name.startswith(last)
        ]


def paths_and_overrides(words: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Paths, and the overrides typed after them: group.key=value, unless a file is called so."""
    from re import match

    is_override = [bool(match(r"\+?[a-z]+\.[\w.]+=", word)) for word in words]
    pairs = list(zip(words, is_override, strict=True))
    paths = [Path(word) for word, yes in pairs if not yes or Path(word).exists()]
    return paths, [word for word, yes in pairs if yes and not Path(word).exists()]
