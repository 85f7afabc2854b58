"""What verbs share: their group, kinds of arguments, overrides among paths."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

OVERRIDES: dict[str, Any] = {"nargs": -1, "type": click.UNPROCESSED, "metavar": "[KEY=VALUE]..."}
PASS_THROUGH = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}


class Verbs(click.Group):
    """Lists its verbs by section; prints an error the user can put right as one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections: dict[str, list[str]] = {}

    def add_section(self, title: str, verbs: Iterable[click.Command]) -> None:
        """Add verbs that `--help` lists under a title."""
        for verb in verbs:
            self.add_command(verb)
            self.sections.setdefault(title, []).append(str(verb.name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = formatter.width - 6 - max(len(name) for name in self.commands)
        for title, names in self.sections.items():
            with formatter.section(title):
                rows = [(name, self.commands[name].get_short_help_str(width)) for name in names]
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ValueError as error:
            # Imported only once something went wrong.
            from g5.common.errors import UserError

            if not isinstance(error, UserError):
                raise
            click.echo(f"error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "stopped; what was finished is kept, and the same command goes on from there "
                "(a training with resume=true)",
                err=True,
            )
            sys.exit(130)


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


STORE: dict[str, Any] = {"type": click.Path(path_type=Path), "metavar": "STORE"}


def paths_and_overrides(words: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Paths, and the overrides typed after them: group.key=value, unless a file is called so."""
    from re import match

    is_override = [bool(match(r"\+?[a-z]+\.[\w.]+=", word)) for word in words]
    pairs = list(zip(words, is_override, strict=True))
    paths = [Path(word) for word, yes in pairs if not yes or Path(word).exists()]
    return paths, [word for word, yes in pairs if yes and not Path(word).exists()]
