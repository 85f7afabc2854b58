"""The configuration as typed objects: composed by Hydra, checked, and built once.

settings = load(["arch=v1", "arch.episodes.n_way=5"])
settings.arch.episodes.n_way
"""

import dataclasses
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from g5.common.elsewhere import kept
from g5.common.elsewhere.places import in_archive
from g5.common.errors import UserError
from g5.common.secrets import all_redacted
from g5.config.build import check_node, check_written
from g5.config.check import Seed, check_keys, check_value, unknown_key
from g5.config.node import Node
from g5.config.schema import (
    MODE,
    OF_DETECTION,
    OF_RUNS,
    OF_TESTS,
    OF_USER,
    REPETITION,
    ArchSettings,
    AudioSettings,
    CallbackSettings,
    ClassifySettings,
    ClipSettings,
    ClusterSettings,
    DetectionSettings,
    EmbedSettings,
    EngineSettings,
    ExplainSettings,
    FeatureSettings,
    FinetuneSettings,
    LabelSettings,
    LoggerSettings,
    MapSettings,
    PathSettings,
    ReviewSettings,
    SearchSettings,
    SimulateSettings,
    TrainerSettings,
    VerifySettings,
)
from preprocessing.recorders.hours import Choice

Group = TypeVar("Group")
# Groups of `conf/` that a key may name and that are no part of the settings.
CHOICES = ("budget", "debug", "experiment")
# Whose classes import PyTorch: they are looked at last.
NETWORKS = ("archs.", "preprocessing.frontend.", "g5.detection.")


@dataclass(frozen=True)
class Tree:
    """A whole configuration; its groups are the dataclasses of `g5.config.schema`."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], *, known: Collection[str] | None = ()) -> Self:
        """The objects of a resolved configuration that came in a file; imports nothing.

        Args:
            plain: every key of `conf/`, as a checkpoint stores it (`g5.config.stored.completed`).
            known: classes that the user has named on the command line. Of a node of another class
                that is not g5's, `build` says so and imports nothing. None: the user wrote it all.

        Raises:
            UserError: naming the first key that is unknown, missing, of a wrong type or out of its
                range, and what would fit.
        """
        return _built(cls, plain, "", None if known is None else frozenset(known))

    def plain(self) -> dict[str, Any]:
        """Plain containers, as checkpoints, `config.yaml` and MLflow hold them: no password."""
        return all_redacted(plain_of(self))

    def but(self, changes: Mapping[str, Any]) -> Self:
        """A copy with other values, by dotted key: ``{"arch.training.max_epochs": 3}``."""
        changed = self
        for key, value in changes.items():
            changed = _changed(changed, key.split("."), value)
        return changed

    def nodes(self) -> Iterator[tuple[str, Node, type | None]]:
        """Every `_target_` group with its dotted key, and the group it is spread in, if any."""
        yield from _nodes(self, "")


@dataclass(frozen=True)
class Settings(Tree):
    """What a run is: `conf/config.yaml`."""

    name: str = field(metadata=REPETITION)
    exp_name: str = field(metadata=REPETITION)
    train: bool = field(metadata=MODE)
    test: bool = field(metadata=MODE)
    resume: bool = field(metadata=MODE)
    deterministic: bool = field(metadata=OF_DETECTION | REPETITION)
    seed: Seed = field(metadata=OF_TESTS | OF_DETECTION | REPETITION)
    path: PathSettings = field(metadata=OF_USER | REPETITION)
    audio: AudioSettings = field(metadata=OF_RUNS | OF_DETECTION)
    data: Node = field(metadata=OF_TESTS)
    features: FeatureSettings = field(metadata=OF_TESTS)
    detection: DetectionSettings = field(metadata=OF_DETECTION)
    arch: ArchSettings
    trainer: TrainerSettings = field(metadata=OF_DETECTION | OF_USER | REPETITION)
    callbacks: CallbackSettings = field(metadata=OF_USER)
    logger: LoggerSettings = field(metadata=OF_USER | REPETITION)
    engine: EngineSettings = field(metadata=OF_DETECTION | OF_USER | REPETITION)


@dataclass(frozen=True)
class TransferSettings(Tree):
    """What commands on embeddings, reviews and clips read: `conf/transfer.yaml`."""

    path: PathSettings
    audio: AudioSettings
    logger: LoggerSettings
    engine: EngineSettings
    embed: EmbedSettings
    classify: ClassifySettings
    finetune: FinetuneSettings
    verify: VerifySettings
    search: SearchSettings
    cluster: ClusterSettings
    map: MapSettings
    label: LabelSettings
    review: ReviewSettings
    clips: ClipSettings
    simulate: SimulateSettings
    explain: ExplainSettings


def load(overrides: Sequence[str] = (), *, reads: Collection[str] | None = None) -> Settings:
    """`conf/config.yaml` with ``overrides`` on top, checked.

    Args:
        overrides: ``key=value`` and ``group=choice``, in Hydra's grammar.
        reads: groups that the command reads; overrides of others are refused. None: all.

    Raises:
        UserError: for an override that cannot be read or is refused, or a value that does not fit.
    """
    from g5.config.compose import composed, resolve

    _refuse_foreign(overrides, reads)
    return checked(resolve(composed(overrides)))


def load_transfer(overrides: Sequence[str] = (), *, reads: Collection[str]) -> TransferSettings:
    """`conf/transfer.yaml` with ``overrides`` on top, checked; as `load`.

    ``reads`` may name ``encoder`` and ``head``, too: `load_node` reads those.
    """
    from g5.config.compose import composed, resolve

    _refuse_foreign(overrides, (*reads, "audio"))
    own = [text for text in overrides if group_of(text) not in ("encoder", "head")]
    settings = TransferSettings.from_plain(resolve(composed(own, "transfer")), known=None)
    if overrides or not kept.is_set():  # another reading of the defaults changes nothing
        kept.use(settings.audio.cache)
    return settings


def load_node(
    group: str,
    name: str,
    overrides: Sequence[str] = (),
    *,
    free: bool = False,
    beside: Mapping[str, Any] | None = None,
) -> Node:
    """`conf/<group>/<name>.yaml` with ``<group>.key=value`` on top; its class is not looked at.

    Args:
        group: ``encoder`` or ``head``.
        name: a file of the group, without the suffix.
        overrides: those of other groups are passed over.
        free: keys that the YAML does not have are taken, too.
        beside: what a file of the user's says of some keys; overrides go on top of it.

    Raises:
        UserError: there is no such file, or a key it does not have.
    """
    from g5.config.choices import choices
    from g5.config.compose import composed, resolve

    if name not in (known := choices(group)):
        raise UserError(f"{group}: there is no {name}; choose one of {', '.join(known)}")
    own = [text for text in overrides if group_of(text) == group]
    if free:
        own = ["++" + text.lstrip("+") for text in own]
    plain = resolve(composed(own, f"{group}/{name}"), missing=True)[group]
    typed = {text.partition("=")[0].partition(".")[2] for text in own}
    plain |= {key: value for key, value in (beside or {}).items() if key not in typed}
    return Node.of(plain)


def checked(plain: Mapping[str, Any]) -> Settings:
    """The settings of a resolved configuration that the user wrote; every key is checked.

    Raises:
        UserError: naming the first key that is unknown, missing, of a wrong type, out of its range
            or at odds with another, and what would fit.
    """
    settings = Settings.from_plain(plain, known=None)
    check_paths(settings)
    check_settings(settings)
    return settings


def check_paths(settings: Settings) -> None:
    """Raise `UserError` for data that are not there; nothing is imported for it."""
    names = marked(PathSettings, "data_dir")
    paths = {f"path.{key}": getattr(settings.path, key) for key in names}
    own = {f"data.{key}": settings.data.values.get(key) for key in ("root", *names)}
    # The data's own are those of `path`, unless they were typed.
    paths |= {key: path for key, path in own.items() if path not in paths.values()}
    given = {key: path for key, path in paths.items() if isinstance(path, str)}
    if str(settings.data.target).startswith("preprocessing.datasets."):
        lost = [f"{key}={at}" for key, at in given.items() if not _is_there(Path(at).expanduser())]
        if lost:
            raise UserError(f"there is no such file or folder: {', '.join(lost)}")


def _is_there(path: Path) -> bool:
    return path.exists() or in_archive(path) is not None


def check_typed(overrides: Sequence[str]) -> None:
    """Raise `UserError` for a key that no group of `conf/config.yaml` has; reads no checkpoint.

    What a node may have, its class says later.
    """
    for override in overrides:
        if "=" not in override:
            raise UserError(f"{override}: is no override; write key=value")
        schema: type = Settings
        parts = override.partition("=")[0].lstrip("+~").split(".")
        for depth, part in enumerate(parts):
            hints = hints_of(schema)
            spread = any(_is_spread(member) for member in dataclasses.fields(schema))
            if part not in hints and not spread and part not in CHOICES:
                raise unknown_key(part, list(hints), ".".join(parts[:depth]))
            hint = hints.get(part)
            if not isinstance(hint, type) or not dataclasses.is_dataclass(hint) or hint is Node:
                break
            schema = hint


def check_settings(settings: Settings) -> None:
    """Every node against its class's constructor, and what no single key can know."""
    nodes = sorted(settings.nodes(), key=lambda one: one[1].target.startswith(NETWORKS))
    for where, node, _ in nodes:
        check_written(node, where)
    _check_across(settings)
    for where, node, spread_in in nodes:
        check_node(node, where, beside=hints_of(spread_in) if spread_in else ())


def _check_across(settings: Settings) -> None:
    training, detection = settings.arch.training, settings.detection
    Choice(detection.hours, detection.dates)
    if detection.precision is not None and detection.recall is not None:
        raise UserError("detection.precision and detection.recall: ask for one of them")
    if settings.arch.episodes.n_way < 2:
        raise UserError("arch.episodes.n_way: must be at least 2: with one class all are right")
    if settings.features.max_clip_s < settings.features.min_clip_s:
        raise UserError("features.max_clip_s: must be at least features.min_clip_s")
    if training.scheduler == "plateau" and training.scheduler_gamma >= 1:
        raise UserError("arch.training.scheduler_gamma: must be below 1 for scheduler=plateau")
    if not settings.train and not settings.test:
        raise UserError("train, test: both are false, so there is nothing to do")
    if not settings.train and not training.load_weight_from:
        raise UserError(
            "arch.training.load_weight_from: name a checkpoint; with train=false there is no other"
        )
    if settings.resume and not settings.train:
        raise UserError("resume: only a training run can be resumed; leave train=false away")


def group_of(override: str) -> str:
    """The group that an override is of: ``+embed.hop_s=1`` is of ``embed``."""
    return override.partition("=")[0].partition(".")[0].lstrip("+")


def _refuse_foreign(overrides: Sequence[str], reads: Collection[str] | None) -> None:
    for override in overrides:
        if "=" not in override:
            raise UserError(f"{override}: is no override; write key=value")
        if reads is not None and group_of(override) not in reads:
            raise UserError(
                f"{override}: this command reads {', '.join(f'{name}.*' for name in reads)}"
            )


# --- mappings and objects -----------------------------------------------------------------------


def hints_of(schema: type) -> dict[str, Any]:
    """Field names and types of a dataclass; its spread node left out."""
    hints = typing.get_type_hints(schema, include_extras=True)
    return {f.name: hints[f.name] for f in dataclasses.fields(schema) if not _is_spread(f)}


def marked(schema: type, mark: str, where: str = "") -> list[str]:
    """Dotted keys of the fields that carry a mark of `g5.config.schema`."""
    found = []
    for member in dataclasses.fields(schema):
        at = f"{where}.{member.name}" if where else member.name
        hint = hints_of(schema).get(member.name)
        if member.metadata.get(mark):
            found.append(at)
        elif dataclasses.is_dataclass(hint) and hint is not Node:
            found += marked(typing.cast("type", hint), mark, at)
    return found


def texts_of(schema: type, where: str = "") -> Iterator[str]:
    """Dotted keys whose values are texts."""
    for name, hint in hints_of(schema).items():
        if dataclasses.is_dataclass(hint) and hint is not Node:
            yield from texts_of(typing.cast("type", hint), f"{where}{name}.")
        elif str in _options(hint) and set(_options(hint)) <= {str, type(None)}:
            yield f"{where}{name}"


def _is_spread(member: dataclasses.Field) -> bool:
    return bool(member.metadata.get("spread"))


def _built(schema: type[Group], plain: Any, where: str, known: frozenset[str] | None) -> Group:
    """A dataclass of the schema from the mapping of its group."""
    if not isinstance(plain, Mapping):
        raise UserError(f"{where}: must be a group of keys, not {plain!r}")
    hints, values = hints_of(schema), {}
    own = plain
    for member in dataclasses.fields(typing.cast("Any", schema)):
        if _is_spread(member):
            rest = {key: value for key, value in plain.items() if key not in hints}
            values[member.name] = _node(rest, where, known)
            own = {key: value for key, value in plain.items() if key in hints}
    check_keys(list(own), list(hints), where)
    for key, hint in hints.items():
        at = f"{where}.{key}" if where else key
        if dataclasses.is_dataclass(hint) and hint is not Node:
            values[key] = _built(typing.cast("type", hint), own[key], at, known)
        elif Node in _options(hint):
            optional = type(None) in _options(hint)
            values[key] = None if optional and own[key] is None else _node(own[key], at, known)
        else:
            check_value(own[key], hint, at)
            values[key] = own[key]
    return schema(**values)


def _options(hint: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _node(plain: Any, where: str, known: frozenset[str] | None) -> Node:
    if not isinstance(plain, Mapping):
        raise UserError(f"{where}: must be a group of keys, not {plain!r}")
    if "_target_" not in plain:
        raise UserError(f"{where}._target_: missing; it names the class this group configures")
    return Node.of(plain, known)


def _changed(group: Any, path: Sequence[str], value: Any) -> Any:
    first, *rest = path
    if isinstance(group, Node):
        assert first in group.values, path
        assert not rest, path
        return dataclasses.replace(group, values={**group.values, first: value})
    if rest:
        value = _changed(getattr(group, first), rest, value)
    return dataclasses.replace(group, **{first: value})


def _nodes(group: Any, where: str) -> Iterator[tuple[str, Node, type | None]]:
    for member in dataclasses.fields(group):
        value = getattr(group, member.name)
        at = f"{where}.{member.name}" if where else member.name
        if isinstance(value, Node):
            yield (where, value, type(group)) if _is_spread(member) else (at, value, None)
        elif dataclasses.is_dataclass(value):
            yield from _nodes(value, at)


def plain_of(group: Any) -> dict[str, Any]:
    """The mapping of a dataclass of the schema."""
    plain: dict[str, Any] = {}
    for member in dataclasses.fields(group):
        value = getattr(group, member.name)
        if _is_spread(member):
            plain |= value.plain()
        elif isinstance(value, Node):
            plain[member.name] = value.plain()
        else:
            plain[member.name] = plain_of(value) if dataclasses.is_dataclass(value) else value
    return plain
