"""An encoder with its front end: waveforms in, embeddings out, and how it is saved.

Shapes: B windows, S samples, M mel bands, T frames, D embedding width.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from g5.common.errors import UserError, brief
from g5.config.earlier import first_name
from g5.embeddings.encoders.identity import encoder_hash
from g5.embeddings.vectors import EncoderFacts
from g5.tracking.restore import Restored
from preprocessing.frontend import FrontEnd
from preprocessing.normalize import Normalize

# Of an encoder's group, what no embedding depends on.
NOT_HASHED = ("path", "geometry", "installed", "licence", "known_by", "auto")

SHORTEST_S, LONGEST_S = 0.001, 3600.0  # a window


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
        kind: ``checkpoint``, ``onnx``, ``tflite`` or ``class``.
        node: its group of the configuration.
        geometry: where distances between its embeddings are taken: one of `archs.geometry.MODES`.
        restored: all of a checkpoint of g5's architectures.
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
    geometry: str = "none"
    restored: Restored | None = None

    def __post_init__(self) -> None:
        if not SHORTEST_S <= self.window_s <= LONGEST_S:
            raise UserError(
                f"{self.name}: encoder.window_s: must be from {SHORTEST_S:g} to {LONGEST_S:g} s, "
                f"not {self.window_s:g}"
            )

    @property
    def shareable(self) -> bool:
        """Whether several threads may call it at once; others' may keep something in between."""
        return self.kind in ("checkpoint", "tflite")

    @property
    def from_file(self) -> bool:
        """Whether others have made it, as a file with weights that stay."""
        return self.kind in ("onnx", "tflite")

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
        known = {key: value for key, value in self.node.items() if key not in NOT_HASHED}
        if known.get("peak") is None:
            known.pop("peak", None)
        if "_target_" in known:
            known["_target_"] = first_name(known["_target_"])
        states = [self.module.state_dict()]
        if self.normalize is not None:
            states.append(self.normalize.state_dict())
        content = Path(self.node["path"]).read_bytes() if self.from_file else b""
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
