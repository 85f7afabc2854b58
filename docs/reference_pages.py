"""Reference pages, written while the site is built: keys of conf/, commands, Python names."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import yaml

from g5.config.choices import CONF

# Where the public names of Python are; `__all__` says which.
PUBLIC = ("g5", "g5.transfer")
KEY = re.compile(r"^( *)(- )?([\w.@/]+):(?: +([^#]*?))?(?: +# ?(.*))?$")


def key_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Dotted key, default and comment of every key of a YAML file, in its order."""
    above: list[tuple[int, str]] = []
    in_defaults = False
    for line in path.read_text(encoding="utf-8").splitlines():
        found = KEY.match(line)
        if not found:
            continue
        indent, item, key, value, comment = found.groups()
        depth = len(indent) + (2 if item else 0)
        if not depth:
            in_defaults = key == "defaults"
        if in_defaults or item:
            continue
        above = [one for one in above if one[0] < depth]
        dotted = ".".join([*(name for _, name in above), key])
        if value:
            yield from _unfolded(dotted, value.strip(), comment or "")
        else:
            above.append((depth, key))
            if comment:
                yield dotted, "", comment


def _unfolded(dotted: str, value: str, comment: str) -> Iterator[tuple[str, str, str]]:
    """A group that is written on one line, key by key."""
    group = yaml.safe_load(value) if value.startswith("{") else None
    if not group:
        yield dotted, value, comment
        return
    for key, one in group.items():
        text = yaml.safe_dump(one, default_flow_style=True, width=1000)
        yield from _unfolded(f"{dotted}.{key}", text.removesuffix("...\n").strip(), comment)


def intro_of(path: Path) -> str:
    """The comment that a YAML file begins with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):  # Hydra's
            lines.append(line.lstrip("# "))
    return " ".join(lines)


def place_of(path: Path) -> str:
    """What is typed before the keys of a file, `detection` for `conf/detection/energy.yaml`."""
    folders = path.relative_to(CONF).parent.parts
    if folders[:1] in (("budget",), ("experiment",), ("debug",)):
        return ""  # they set keys of the whole
    return ".".join(part for part in folders if part != "common")


def key_page() -> list[str]:
    """Markdown: a section a file of conf/, a table of its keys."""
    lines = []
    for path in sorted(CONF.rglob("*.yaml"), key=lambda one: (len(one.parts), one)):
        prefix = place_of(path)
        lines += [f"## conf/{path.relative_to(CONF).as_posix()}", "", _cell(intro_of(path)), ""]
        rows = list(key_lines(path))
        if not rows:
            continue
        lines += ["| key | default | |", "| --- | --- | --- |"]
        for dotted, value, comment in rows:
            key = f"{prefix}.{dotted}" if prefix else dotted
            cells = (f"`{key}`", f"`{value}`" if value else "", comment)
            lines.append("| " + " | ".join(_cell(text) for text in cells) + " |")
        lines.append("")
    return lines


def _cell(text: str) -> str:
    """Text that is no markup; but for what is in backticks."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)


def commands(
    group: click.Group, ctx: click.Context
) -> Iterator[tuple[click.Context, click.Command]]:
    """All commands under a group, each with its context."""
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        below = click.Context(command, info_name=name, parent=ctx, max_content_width=90)
        yield below, command
        if isinstance(command, click.Group):
            yield from commands(command, below)


def command_page() -> list[str]:
    """Markdown: a section a command, with its help."""
    from g5.cli.main import main

    lines = []
    for ctx, _ in commands(main, click.Context(main, info_name="g5")):
        ctx.help_option_names = ["-h", "--help"]
        lines += [f"## {ctx.command_path}", "", "```text", *ctx.get_help().splitlines(), "```", ""]
    return lines


def python_page() -> list[str]:
    """Markdown: a section a public name, with its signature and docstring."""
    lines = []
    for place in PUBLIC:
        module = importlib.import_module(place)
        for name in sorted(module.__all__):
            thing = getattr(module, name)
            lines += [f"## {place}.{name}", "", "```text", f"{name}{_signature(thing)}", ""]
            lines += [*(inspect.getdoc(thing) or "").splitlines(), ""]
            for method, one in inspect.getmembers(thing, inspect.isfunction):
                if inspect.isclass(thing) and method in vars(thing) and method[0] != "_":
                    told = (inspect.getdoc(one) or "").split("\n\n")[0]
                    lines += [f".{method}{_signature(one)}", *_indented(told), ""]
            lines += ["```", ""]
    return lines


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]


def _signature(thing: object) -> str:
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return ""
    parameters = inspect.signature(thing).parameters.values()  # type: ignore[arg-type]
    shown = [str(one) for one in parameters if one.name != "self"]
    return "(" + ", ".join(shown) + ")" if len(shown) < 3 else _stacked(shown)


def _stacked(shown: list[str]) -> str:
    return "(\n" + "\n".join(f"    {one}," for one in shown) + "\n)"
