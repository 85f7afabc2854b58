"""From what a user types for ENCODER to something that turns waveforms into embeddings.

Shapes: B windows, S samples, M mel bands, T frames, D embedding width.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from g5.common.errors import UserError, brief
from g5.config.build import build, locate, refuse_unknown, signature_hints
from g5.config.check import unknown_key
from g5.config.choices import choices
from g5.config.earlier import first_name
from g5.config.node import Node
from g5.config.settings import load_node
from g5.config.stored import classes_named
from g5.embeddings.identity import encoder_hash
from g5.embeddings.user_classes import import_class
from g5.embeddings.vectors import EncoderFacts
from g5.training.fit import seeded
from preprocessing.frontend import FrontEnd
from preprocessing.normalize import Normalize

# What of an encoder's group is not for its constructor.
WRAPPER_KEYS = ("sr", "window_s", "front_end")
RATE_ATTRIBUTES = ("sample_rate", "sr", "sample_rate_hz", "sampling_rate")
WINDOW_ATTRIBUTES = ("window_s", "window_seconds", "window_length_s")
# Untrained weights are the same in every start, or a store could never be added to.
SEED = 0
# A class that is still to be named.
MISSING = "???"


@dataclass
class LoadedEncoder:
    """An encoder with its front end: waveforms in, embeddings out.

    Attributes:
        name: as the user typed it.
        module: waveforms ``(B, S)`` or features ``(B, 1, M, T)`` to ``(B, D)``, in eval mode.
        embedding_dim: D.
        sr: Hz.
        window_s: seconds of sound behind an embedding.
        front_end: None for modules that take waveforms.
        normalize: of features, for those of g5's checkpoints.
        kind: ``checkpoint``, ``onnx`` or ``class``.
    """

    name: str
    module: nn.Module
    embedding_dim: int
    sr: int
    window_s: float
    front_end: FrontEnd | None
    normalize: Normalize | None
    kind: str
    node: dict[str, Any]

    @property
    def trainable(self) -> bool:
        """Whether it can be fine-tuned."""
        return any(parameter.requires_grad for parameter in self.module.parameters())

    @property
    def window_samples(self) -> int:
        """S of a window."""
        return max(round(self.window_s * self.sr), 1)

    def facts(self) -> EncoderFacts:
        """What a store of its embeddings keeps."""
        front_end = {} if self.front_end is None else dict(self.front_end.settings())
        if self.normalize is not None:
            front_end["normalize"] = self.normalize.mode
        return EncoderFacts(
            encoder=self.name,
            encoder_hash=self.hash(),
            embedding_dim=self.embedding_dim,
            sr=self.sr,
            window_s=self.window_s,
            front_end=front_end,
        )

    def hash(self) -> str:
        """Of the weights and of what else its numbers depend on (`encoder_hash`)."""
        known = {key: value for key, value in self.node.items() if key != "path"}
        if "_target_" in known:
            known["_target_"] = first_name(known["_target_"])
        states = [self.module.state_dict()]
        if self.normalize is not None:
            states.append(self.normalize.state_dict())
        content = Path(self.node["path"]).read_bytes() if self.kind == "onnx" else b""
        return encoder_hash(known, states, content=content)

    def inputs(self, wave_BS: Tensor) -> Tensor:
        """What the module takes of waveforms, each normalised as a recording of its own."""
        if self.front_end is None:
            return wave_BS
        x_B1MT = self.front_end(wave_BS)[:, None]
        if self.normalize is None:
            return x_B1MT
        return self.normalize(x_B1MT)

    def forward(self, wave_BS: Tensor) -> Tensor:
        """Embed waveforms ``(B, S) -> (B, D)`` float32, with gradient where there is one."""
        return self.embed_inputs(self.inputs(wave_BS))

    def embed_inputs(self, x: Tensor) -> Tensor:
        """Embed what `inputs` gives; checks what comes out.

        Raises:
            UserError: the module raises, or gives another shape than (B, D).
        """
        try:
            z_BD = self.module(x)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{self.name}: raises {type(error).__name__} on input {tuple(x.shape)}: "
                f"{brief(error)}; try g5 encoders check {self.name}"
            ) from error
        if not isinstance(z_BD, Tensor) or z_BD.shape != (len(x), self.embedding_dim):
            got = tuple(z_BD.shape) if isinstance(z_BD, Tensor) else type(z_BD).__name__
            raise UserError(
                f"{self.name}: gives {got} for input {tuple(x.shape)}, where "
                f"{(len(x), self.embedding_dim)} is needed; try g5 encoders check {self.name}"
            )
        return z_BD.float()

    def to(self, device: torch.device) -> "LoadedEncoder":
        """Move every part."""
        for part in (self.module, self.front_end, self.normalize):
            if part is not None:
                part.to(device)
        return self


def load_encoder(
    name: str, overrides: Sequence[str] = (), *, from_file: bool = False
) -> LoadedEncoder:
    """The encoder that ``name`` means.

    In this order: a path ending in .ckpt or .onnx, a name in `conf/encoder/`, an import path
    ``pkg.mod.Class`` or ``pkg.mod:Class`` (the current directory is importable).

    Args:
        name: what the user typed.
        overrides: ``encoder.key=value``; others are passed over.
        from_file: ``name`` comes from a store or a head. As of a checkpoint, no class is imported
            that is not g5's, unless the user names it: ``encoder._target_=my_pkg.MyEncoder``.

    Raises:
        UserError: none of these, or it cannot be loaded.
    """
    known = frozenset(dotted.replace(":", ".") for dotted in classes_named(overrides))
    if name.endswith(".ckpt"):
        return _from_checkpoint(name, known)
    if name.endswith(".onnx"):
        return _from_onnx(name, overrides)
    if name in choices("encoder"):
        node = load_node("encoder", name, overrides, free=name == "custom")
        if name == "onnx":
            if not node.values["path"]:
                raise UserError("encoder.path: name the ONNX file, or type it in place of onnx")
            return _from_onnx(node.values["path"], overrides)
        if name == "custom" and node.target == MISSING:
            raise UserError("encoder._target_: name your class, e.g. my_pkg.models.MyEncoder")
        ours = name != "custom" and node.target == load_node("encoder", name).target
        return _from_node(name, node) if ours else _from_class(node)
    if "." not in name and ":" not in name:
        raise UserError(
            f"ENCODER {name!r}: no .ckpt or .onnx file, none of {', '.join(choices('encoder'))}, "
            "and no import path like my_pkg.models.MyEncoder"
        )
    node = load_node("encoder", "custom", overrides, free=True)
    if node.target == MISSING:
        node = replace(node, target=name, known=known if from_file else None)
    return _from_class(node)


def save_encoder(encoder: LoadedEncoder, path: Path) -> None:
    """Write a (fine-tuned) encoder as a .ckpt that `load_encoder` reads, without pickle.

    Those of g5's architectures stay what they are, checkpoints with new weights.
    """
    from g5.tracking import checkpoints

    state = encoder.module.state_dict()
    if encoder.kind == "checkpoint":
        content = checkpoints.load(encoder.node["path"])
        kept = {k: v for k, v in content["state_dict"].items() if not k.startswith("model.")}
        kept |= {f"model.{key}": value for key, value in state.items()}
        checkpoints.save(
            {"g5": content["g5"], "state_dict": kept, "epoch": 0, "global_step": 0}, path
        )
        return
    header = {"name": encoder.name, "node": encoder.node, "embedding_dim": encoder.embedding_dim}
    checkpoints.save({"g5_encoder": header, "state_dict": state}, path)


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
    from g5.tracking.checkpoints import find
    from g5.tracking.restore import restore

    path, message = find(name)
    if message:
        print(message)
    if (content := _encoder_file(path)) is not None:
        return _tuned(path, content, known)
    restored = restore(path, known=known, keys=("encoder", "encoder.front_end"))
    return LoadedEncoder(
        name=str(path),
        module=restored.model,
        embedding_dim=restored.model.embedding_dim,
        sr=restored.front_end.sr,
        window_s=float(restored.config["features"]["clip_s"]),
        front_end=restored.front_end,
        normalize=restored.normalize,
        kind="checkpoint",
        node={**restored.config["arch"]["model"], "path": str(path)},
    )


def _encoder_file(path: Path) -> Mapping[str, Any] | None:
    """The content of a file of `save_encoder`; None if it is another kind of checkpoint."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        return None  # the reader of checkpoints says what is wrong with it
    return content if isinstance(content, Mapping) and "g5_encoder" in content else None


def _from_onnx(name: str, overrides: Sequence[str]) -> LoadedEncoder:
    from g5.embeddings.onnx_encoder import OnnxEncoder

    beside, said = Path(name).with_suffix(".yaml"), {}
    if beside.is_file():
        try:
            said = yaml.safe_load(beside.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"{beside}: cannot be read ({error})") from error
        if not isinstance(said, Mapping):
            raise UserError(f"{beside}: must hold keys like sr: 48000")
        plain = load_node("encoder", "onnx").plain()
        for key in said:
            if key not in plain:
                raise unknown_key(key, list(plain), str(beside))
    node: dict[str, Any] = load_node("encoder", "onnx", overrides, beside=said).plain()
    node["path"] = name
    values: dict[str, Any] = {
        key: node[key] for key in ("path", "input", "output", "embedding_dim")
    }
    module = OnnxEncoder(**values)
    sr: Any = node["sr"] or module.sr
    window_s: Any = node["window_s"] or module.window_s
    if sr and not window_s and module.samples:
        window_s = module.samples / sr
    for key, value in (("sr", sr), ("window_s", window_s)):
        if not value:
            raise UserError(
                f"{name}: its metadata do not say {key}; say encoder.{key}=VALUE, or write "
                f"{key}: VALUE into {beside}"
            )
    return LoadedEncoder(
        name, module.eval(), module.embedding_dim, int(sr), float(window_s), None, None, "onnx",
        node,
    )  # fmt: skip


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
        if (key in parameters or takes_all) and value is not None
    }
    for key in node.values:
        if key not in parameters and key not in (*WRAPPER_KEYS, "embedding_dim") and not takes_all:
            raise unknown_key(key, [*parameters, *WRAPPER_KEYS], "encoder")
    try:
        with seeded(SEED):
            module = cls(**values)
    except Exception as error:
        raise UserError(
            f"{dotted}: cannot be made ({type(error).__name__}: {brief(error)}); "
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
        name, module.eval(), width, int(sr), float(window_s), front_end, None, "class", node.plain()
    )


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
