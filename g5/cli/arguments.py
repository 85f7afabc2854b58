"""Arguments and options that several commands have."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click


class CheckedPath(click.Path):
    """A path that is looked at before anything heavy is imported; ``check`` raises `UserError`."""

    def __init__(self, check: Callable[[Path], object]) -> None:
        super().__init__(path_type=Path)
        self.check = check

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        self.check(path)
        return path


class PlaceType(click.Path):
    """A path, an address or a place in an archive, of which nothing is looked at yet."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        from g5.common.elsewhere.places import place_of

        return place_of(value)


def check_file(path: Path) -> None:
    """Raise `UserError` where there is nothing, or a pipe or a device."""
    from g5.common.elsewhere.kept import check_regular
    from g5.common.errors import UserError

    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    check_regular(path)


def check_recordings(path: Path) -> None:
    """Raise `UserError` where there is nothing, unless it is a pattern or lies elsewhere."""
    from glob import has_magic

    from g5.common.elsewhere.places import is_elsewhere, place_of

    if not has_magic(str(path)) and not is_elsewhere(place_of(path)):
        check_file(path)


def check_store(path: Path) -> None:
    """Raise `UserError` where there is no store of embeddings."""
    from preprocessing.store.settings import check_there

    check_there(path, f"g5 embed ENCODER recordings/ -o {path}")


def check_checkpoint(path: Path) -> None:
    """Raise `UserError` where there is no such checkpoint, or something else."""
    from g5.tracking.folders import find

    _check_saved(find(path)[0], "no checkpoint; g5 train and g5 pretrain make them")


def check_head(path: Path) -> None:
    """Raise `UserError` where there is no head."""
    check_file(path)
    _check_saved(path, "no head; g5 classify and g5 finetune make them")


def _check_saved(path: Path, what: str) -> None:
    from zipfile import is_zipfile

    from g5.common.errors import UserError

    # What is none may be a damaged one, whose reader says more.
    if path.is_dir() or (path.suffix not in (".ckpt", ".head", ".onnx") and not is_zipfile(path)):
        raise UserError(f"{path}: is {what}")


def _check_found(folder: Path) -> None:
    from g5.evaluation.events.ground_truth import check_found

    check_found(folder)


def check_clip(text: str) -> None:
    """Raise `UserError` where FILE of ``FILE:START-END`` is not there."""
    from g5.embeddings.stretch import Stretch

    check_file(Path(Stretch.parse(text).file))


def check_encoder(name: str, overrides: Sequence[str] = (), *, several: bool = False) -> None:
    """Raise `UserError` where an encoder is a file, and there is none, or of no known name.

    Args:
        name: what is typed.
        overrides: ``encoder.key=value`` are keys of `conf/encoder/`.
        several: it may be ``auto``, or encoders with ``+``.
    """
    from g5.config.choices import choices
    from g5.config.settings import load_node
    from g5.embeddings.encoders import check_name

    if several and "+" in name and not Path(name).exists():
        for part in name.split("+"):
            check_encoder(part)
    elif name.endswith(".ckpt") or name == "default":
        check_checkpoint(Path(name))
    elif name.endswith((".onnx", ".tflite")):
        check_file(Path(name))
    elif name in choices("encoder"):
        load_node("encoder", name, overrides, free=name == "custom")
    elif not (several and name == "auto"):
        check_name(name)


def check_training(overrides: Sequence[str]) -> None:
    """Raise `UserError` for what a training's overrides get wrong."""
    from g5.config.compose import composed
    from g5.config.settings import load

    weights = composed(overrides).arch.training.load_weight_from
    if isinstance(weights, str):
        check_checkpoint(Path(weights))
    load(overrides)


FILE, CHECKPOINT = CheckedPath(check_file), CheckedPath(check_checkpoint)
PLACE = PlaceType()
HEAD, FOUND = CheckedPath(check_head), CheckedPath(_check_found)
OVERRIDES: dict[str, Any] = {"nargs": -1, "type": click.UNPROCESSED, "metavar": "[KEY=VALUE]..."}
STORE: dict[str, Any] = {"type": CheckedPath(check_store), "metavar": "STORE"}

into_store = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="STORE",
    help="The store: made, or added to.",
)  # fmt: skip
with_check = click.option(
    "--check", is_flag=True,
    help="Read the store first and drop what is corrupt in it, so that it is made again.",
)  # fmt: skip
with_labels = click.option(
    "--labels", required=True, type=FILE, metavar="CSV",
    help="Columns file and label (rating for task=rating), perhaps start_s, end_s, source.",
)  # fmt: skip


def with_clues(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say when and where recordings were made; they arrive as ``clues``, a mapping."""
    from functools import wraps

    options = [
        click.option("--zone", metavar="ZONE", help="Time zone of the sites: Europe/Berlin."),
        click.option(
            "--clock", metavar="ZONE",
            help="Of clocks that do not say theirs: UTC, +01:00; by default the sites' zone.",
        ),
        click.option("--deployments", type=FILE, metavar="CSV",
                     help="Columns recorder, site, lat, lon, from, to; or Camtrap DP's."),
        click.option("--times", type=FILE, metavar="CSV", help="Columns file and start."),
        click.option("--pattern", help="Of dates in names, as strptime has it: %Y%m%d_%H%M%S."),
        click.option("--mtime", is_flag=True,
                     help="Where nothing else is known, believe when a file was last changed."),
    ]  # fmt: skip
    names = ("zone", "clock", "deployments", "times", "pattern", "mtime")

    @wraps(command)
    def gathered(**values: Any) -> Any:
        return command(clues={name: values.pop(name) for name in names}, **values)

    for option in reversed(options):
        gathered = option(gathered)
    return gathered


class ColumnNames(click.ParamType):
    """What a table calls our columns: ``start_s=Begin,label=Sp``; a mapping."""

    name = "columns"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        from preprocessing.annotations import columns_of

        return columns_of(value)


with_columns = click.option(
    "--columns", type=ColumnNames(), metavar="OURS=THEIRS,...",
    help="What a CSV of your own calls its columns: start_s=Begin,end_s=End,label=Sp.",
)  # fmt: skip


def columns_key(columns: Mapping[str, str] | None, overrides: tuple[str, ...]) -> tuple[str, ...]:
    """The overrides with ``--columns`` as the key ``data.columns``, by which data are read."""
    if columns is None:
        return overrides
    pairs = ",".join(f"{ours}:{_quoted(theirs)}" for ours, theirs in columns.items())
    return (*overrides, f"data.columns={{{pairs}}}")


def _quoted(name: str) -> str:
    """As Hydra's grammar takes any name."""
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


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

    from g5.common.elsewhere.places import place_of

    is_override = [bool(match(r"\+?([a-z]+\.[\w.]+|engine)=", word)) for word in words]
    pairs = list(zip(words, is_override, strict=True))
    paths = [place_of(word) for word, yes in pairs if not yes or Path(word).exists()]
    return paths, [word for word, yes in pairs if yes and not Path(word).exists()]
