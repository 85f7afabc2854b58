"""A group of commands that are found in the folders of packages, one module a command."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from g5.common.terminal import speak_utf8

OUTPUTS = ("-o", "--out", "--output", "--json", "--page")
WORDS = "g5.words"  # of the command line, in the context


class PackageGroup(click.Group):
    """Its commands are the modules (and sub-packages) of packages, imported when they are needed.

    A module holds a command of its own name: `detect.py` holds ``detect``. A name that Python has
    already ends in an underscore, `import_.py` and ``import_``, which the command drops.
    """

    def __init__(self, *args: Any, sections: Mapping[str, str], **kwargs: Any) -> None:
        """Args:
        sections: titles in `--help`, each with the package that holds its commands. ``FIRST`` of
            a package names those that are listed first; the others follow by name.
        """
        super().__init__(*args, **kwargs)
        self.sections = {title: _modules_of(package) for title, package in sections.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for modules in self.sections.values() for name in modules]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for modules in self.sections.values():
            if path := modules.get(cmd_name):
                return getattr(import_module(path), path.rpartition(".")[2])
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = formatter.width - 6 - max(map(len, self.list_commands(ctx)))
        for title, modules in self.sections.items():
            found = {name: self.get_command(ctx, name) for name in modules}
            with formatter.section(title):
                formatter.write_dl(
                    [(name, one.get_short_help_str(width)) for name, one in found.items() if one]
                )

    def main(self, args: Sequence[str] | None = None, *others: Any, **more: Any) -> Any:
        """Run what stands on the command line, or ``args`` where these are given."""
        if args is None:
            speak_utf8()
        return super().main(args, *others, **more)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; any error is one line, and exit code 1.

        What the user can put right says how; of all else the traceback is kept in a file.
        """
        try:
            _check_apart(ctx.meta[WORDS])
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            from g5.common.errors import line_of  # only once something went wrong

            click.echo(f"error: {line_of(error)}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "stopped; what was finished is kept, and the same command goes on from there "
                "(a training with resume=true)",
                err=True,
            )
            sys.exit(130)


def _check_apart(words: Sequence[str]) -> None:
    """Raise `UserError` where a command would write onto a file that it is given to read."""
    for at, word in enumerate(words[1:], start=1):
        option, _, joined = word.partition("=")
        place = joined if option in OUTPUTS else word if words[at - 1] in OUTPUTS else ""
        if not os.path.isfile(place):
            continue
        others = (*words[:at], *words[at + 1 :])
        if any(os.path.isfile(other) and os.path.samefile(other, place) for other in others):
            from g5.common.errors import UserError

            raise UserError(
                f"{place}: is read by this command and would be replaced; name another file"
            )


def _modules_of(package: str) -> dict[str, str]:
    """Names of the commands in a package's folder, in order of `--help`, and their modules."""
    home = import_module(package)
    stems = {name.removesuffix(".py") for name in os.listdir(home.__path__[0])}
    names = {stem.rstrip("_"): f"{package}.{stem}" for stem in stems if not stem.startswith("_")}
    first = [name for name in getattr(home, "FIRST", ()) if name in names]
    return {name: names[name] for name in [*first, *sorted(names.keys() - set(first))]}
