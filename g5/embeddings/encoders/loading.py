"""From what a user types for ENCODER to something that turns waveforms into embeddings."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from g5.common.errors import UserError, one_line
from g5.config.build import build, locate, refuse_unknown, signature_hints
from g5.config.check import unknown_key
from g5.config.choices import choices
from g5.config.node import Node
from g5.config.settings import load_node
from g5.config.stored import classes_named
from g5.embeddings.encoders import check_name
from g5.embeddings.encoders.files import FILES, load_file, path_of
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.user_classes import import_class
from g5.training.fit import seeded
from preprocessing.frontend import FrontEnd

# What of an encoder's group is not for its constructor.
WRAPPER_KEYS = ("sr", "window_s", "front_end", "geometry", "auto")
RATE_ATTRIBUTES = ("sample_rate", "sr", "sample_rate_hz", "sampling_rate")
WINDOW_ATTRIBUTES = ("window_s", "window_seconds", "window_length_s")
# Untrained weights are the same in every start, or a store could never be added to.
SEED = 0
# A class that is still to be named.
MISSING = "???"


def load_encoder(
    name: str, overrides: Sequence[str] = (), *, from_file: bool = False
) -> LoadedEncoder:
    """The encoder that ``name`` means.

    In this order: ``default``, a path ending in .ckpt, .onnx or .tflite, a name in
    `conf/encoder/`, an import path ``pkg.mod.Class`` or ``pkg.mod:Class`` (the current directory
    is importable).

    Args:
        name: what the user typed.
        overrides: ``encoder.key=value``; others are passed over.
        from_file: ``name`` comes from a store or a head. As of a checkpoint, no class is imported
            that is not g5's, unless the user names it: ``encoder._target_=my_pkg.MyEncoder``.

    Raises:
        UserError: none of these, or it cannot be loaded.
    """
    known = frozenset(dotted.replace(":", ".") for dotted in classes_named(overrides))
    if name.endswith(".ckpt") or name == "default":
        return _from_checkpoint(name, known)
    if Path(name).suffix in FILES:
        return load_file(name, FILES[Path(name).suffix], overrides)
    if name in choices("encoder"):
        node = load_node("encoder", name, overrides, free=name == "custom")
        if "path" in node.values:
            return load_file(path_of(name, node), name, overrides)
        if name == "custom" and node.target == MISSING:
            raise UserError("encoder._target_: name your class, e.g. my_pkg.models.MyEncoder")
        ours = name != "custom" and node.target == load_node("encoder", name).target
        return _from_node(name, node) if ours else _from_class(node)
    check_name(name)
    node = load_node("encoder", "custom", overrides, free=True)
    if node.target == MISSING:
        node = replace(node, target=name, known=known if from_file else None)
    return _from_class(node)


def _tuned(path: Path, content: Mapping[str, Any], known: frozenset[str]) -> LoadedEncoder:
    from g5.tracking.checkpoints import load_weights

    header, state = content["g5_encoder"], content["state_dict"]
    node = Node.of(header["node"], known)
    if node.target.startswith("archs.encoders."):
        # The weights are in the file: nothing is downloaded again.
        random = {"weights": "random"} if "weights" in node.values else {}
        encoder = _from_node(str(path), replace(node, values={**node.values, **random}))
    else:
        try:
            encoder = _from_class(node)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    load_weights(encoder.module, state, "", path)
    return replace(encoder, name=str(path))


def _from_checkpoint(name: str, known: frozenset[str]) -> LoadedEncoder:
    from g5.tracking.folders import find
    from g5.tracking.restore import restore

    path, message = find(name)
    if message:
        print(message)
    if (content := _encoder_file(path)) is not None:
        return _tuned(path, content, known)
    restored = restore(path, known=known, keys=("encoder", "encoder.front_end"))
    return LoadedEncoder(
        name=name if name == "default" else str(path),
        module=restored.model,
        embedding_dim=restored.model.embedding_dim,
        sr=restored.front_end.sr,
        window_s=float(restored.settings.features.clip_s),
        front_end=restored.front_end,
        normalize=restored.normalize,
        kind="checkpoint",
        node={**restored.settings.arch.model.plain(), "path": str(path)},
        restored=restored,
    )


def _encoder_file(path: Path) -> Mapping[str, Any] | None:
    """The content of a file of `save_encoder`; None if it is another kind of checkpoint."""
    from g5.tracking.checkpoints import load_plain

    try:
        content = load_plain(path)
    except Exception:
        return None  # the reader of checkpoints says what is wrong with it
    return content if isinstance(content, Mapping) and "g5_encoder" in content else None


def _from_node(name: str, node: Node) -> LoadedEncoder:
    """One of the encoders that come with g5."""
    hints = signature_hints(locate(node.target, "encoder"))
    own = {k: v for k, v in node.values.items() if k in hints or k not in WRAPPER_KEYS}
    with seeded(SEED):
        module = build(replace(node, values=own), expect=nn.Module, where="encoder")
    return _wrapped(name, module, node, {})


def _from_class(node: Node) -> LoadedEncoder:
    """A class of the user's."""
    dotted, node = node.target, replace(node, target=node.target.replace(":", "."))
    refuse_unknown(node, "encoder")
    cls = import_class(dotted, "encoder")
    # Before it is made: what a file names must not be able to run anything it likes.
    if not issubclass(cls, nn.Module):
        raise UserError(f"encoder {dotted}: is no nn.Module")
    try:
        parameters = inspect.signature(cls).parameters
    except ValueError:
        parameters = {}
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    values = {
        key: value
        for key, value in node.values.items()
        if (key in parameters or takes_all) and value is not None and key != "geometry"
    }
    for key in node.values:
        if key not in parameters and key not in (*WRAPPER_KEYS, "embedding_dim") and not takes_all:
            raise unknown_key(key, [*parameters, *WRAPPER_KEYS], "encoder")
    try:
        with seeded(SEED):
            module = cls(**values)
    except Exception as error:
        raise UserError(
            f"{dotted}: cannot be made ({one_line(error)}); "
            "its arguments are set by encoder.NAME=VALUE"
        ) from error
    return _wrapped(dotted, module, node, {"sr": 22050, "window_s": 1.0})


def _wrapped(
    name: str, module: nn.Module, node: Node, fallback: Mapping[str, Any]
) -> LoadedEncoder:
    said = node.values
    front_end: FrontEnd | None = None
    own: Any = getattr(module, "front_end", None)
    if said["front_end"] is not None:
        inner = Node.of(said["front_end"], node.known)
        front_end = build(inner, expect=FrontEnd, where="encoder.front_end").eval()
    elif isinstance(own, FrontEnd):
        front_end = own
    sr: Any = said["sr"] or _first(module, RATE_ATTRIBUTES) or (front_end.sr if front_end else None)
    sr = sr or fallback.get("sr")
    window_s: Any = (
        said["window_s"] or _first(module, WINDOW_ATTRIBUTES) or fallback.get("window_s")
    )
    if front_end is not None and front_end.sr != sr:
        raise UserError(f"encoder.sr={sr}: its front end works at {front_end.sr} Hz; make them one")
    for key, value in (("sr", sr), ("window_s", window_s)):
        if not isinstance(value, int | float) or not value > 0:
            raise UserError(f"encoder.{key}: must be a number above 0, not {value!r}")
    width = embedding_width(name, module, said.get("embedding_dim"))
    return LoadedEncoder(
        name, module.eval(), width, int(sr), float(window_s), front_end, None, "class",
        node.plain(), said.get("geometry", "l2"),  # what was saved before there was a choice
    )  # fmt: skip


def embedding_width(name: str, module: nn.Module, said: Any = None) -> int:
    """``module.embedding_dim``, ``module.get_embedding_dim()``, or what the user said of it.

    Raises:
        UserError: none of them says a whole number above 0.
    """
    width = getattr(module, "embedding_dim", None)
    getter = getattr(module, "get_embedding_dim", None)
    if width is None and callable(getter):
        width = getter()
    width = said if width is None else width
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise UserError(
            f"{name}: does not say its embedding_dim (nor get_embedding_dim()); add it to the "
            "class, or say encoder.embedding_dim=WIDTH"
        )
    return width


def _first(module: nn.Module, names: Sequence[str]) -> Any:
    for name in names:
        value = getattr(module, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None
