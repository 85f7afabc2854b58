"""One YAML of `conf/` with ``group.key=value`` on top, for verbs without a whole configuration."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from g5.common.errors import UserError
from g5.config.check import check_mapping, unknown_key
from g5.config.choices import CONF, choices
from g5.config.settings import hints_of


def read_node(
    group: str, name: str, overrides: Sequence[str] = (), *, free: bool = False
) -> dict[str, Any]:
    """`conf/<group>/<name>.yaml` with the overrides ``<group>.key=value`` that are for it.

    Args:
        group: a folder of `conf/`.
        name: a file in it, without the suffix.
        overrides: those of other groups are passed over.
        free: keys that the YAML does not have are taken, too.

    Raises:
        UserError: there is no such file, or a key it does not have.
    """
    known = choices(group)
    if name not in known:
        raise UserError(f"{group}: there is no {name}; choose one of {', '.join(known)}")
    text = (CONF / group / f"{name}.yaml").read_text(encoding="utf-8")
    return overridden(yaml.safe_load(text), group, overrides, free=free)


def read_section(section: str, schema: type, overrides: Sequence[str]) -> dict[str, Any]:
    """A section of `conf/transfer.yaml` with ``<section>.key=value`` on top, checked.

    Raises:
        UserError: an unknown key, or a value that does not fit ``schema``.
    """
    text = (CONF / "transfer.yaml").read_text(encoding="utf-8")
    values = overridden(yaml.safe_load(text)[section], section, overrides, free=False)
    check_mapping(values, hints_of(schema), section)
    return values


def overridden(
    node: Mapping[str, Any], group: str, overrides: Sequence[str], *, free: bool
) -> dict[str, Any]:
    """``node`` with the overrides of its group, interpolations resolved; ``???`` stays."""
    config: Any = OmegaConf.create(dict(node))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UserError(f"{override}: is no override; write key=value")
        own, _, rest = key.lstrip("+").partition(".")
        if own != group:
            continue
        parent, _, last = rest.rpartition(".")
        where = OmegaConf.select(config, parent) if parent else config
        if not free and (where is None or last not in where):
            raise unknown_key(rest, list(config), group)
        try:
            # OmegaConf's own reader: to YAML 1.1, 1e-4 is a word.
            value: Any = OmegaConf.from_dotlist([f"value={text}"])
            OmegaConf.update(config, rest, value["value"], merge=False)
        except (OmegaConfBaseException, yaml.YAMLError) as error:
            raise UserError(f"{override}: {str(error).splitlines()[0]}") from error
    try:
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{group}: {str(error).splitlines()[0]}") from error


def refuse_foreign(overrides: Sequence[str], groups: Sequence[str]) -> None:
    """Raise `UserError` for an override of a group that the verb does not read."""
    for override in overrides:
        group = override.partition("=")[0].partition(".")[0].lstrip("+")
        if group not in groups:
            raise UserError(
                f"{override}: this verb reads {', '.join(f'{name}.*' for name in groups)}"
            )
