"""From a checkpoint to the model that made it, ready to embed clips or waveforms.

Shapes: B clips, S samples, M mel bands, T frames, D embedding width.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archs.protonet import ProtoNet
from g5.common.errors import UserError, unreadable
from g5.config.build import build
from g5.config.node import Node
from g5.config.settings import Settings
from g5.tracking.checkpoints import ANOTHER, load, load_weights
from preprocessing.frontend import FrontEnd
from preprocessing.normalize import Normalize


@dataclass(frozen=True)
class Restored:
    """A trained model with everything it needs, in eval mode, on the CPU.

    Attributes:
        model: encoder and distance.
        front_end: waveforms to features.
        normalize: features to what the encoder eats.
        config: the resolved configuration it was trained with.
        label_map: the classes of each split, by class id.
        header: all the checkpoint says of itself (`checkpoints.payload`).
        path: the checkpoint.
        known: classes that the user has named beside it.
    """

    model: ProtoNet
    front_end: FrontEnd
    normalize: Normalize
    config: dict[str, Any]
    label_map: dict[str, list[str]]
    header: dict[str, Any]
    path: Path
    known: frozenset[str] = frozenset()

    @cached_property
    def settings(self) -> Settings:
        """`config` as typed objects; what its g5 had not got yet is as it is by default."""
        # Late: it needs Hydra, which embedding does not.
        from g5.config.stored import completed

        try:
            with unreadable("its configuration", advice=ANOTHER):
                return Settings.from_plain(completed(self.config), known=self.known)
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from error

    @property
    def temperature(self) -> float | None:
        """What logits are divided by before the softmax; None where none was fitted: take 1."""
        calibration = self.header.get("calibration")
        return None if calibration is None else calibration["temperature"]

    @torch.inference_mode()
    def embed(self, wave_BS: Tensor) -> Tensor:
        """Embed waveforms at ``front_end.sr``: ``(B, S) -> (B, D)``, float32.

        Normalisation per recording takes each waveform for a whole recording: its statistics are
        those of the waveform itself.
        """
        x_B1MT = self.front_end(wave_BS)[:, None]
        return self.model(self.normalize(x_B1MT))


def restore(
    path: str | os.PathLike[str],
    *,
    known: Collection[str] = (),
    keys: tuple[str, str] = ("arch.model", "features"),
) -> Restored:
    """Rebuild model, front end and normalisation from a checkpoint alone.

    Args:
        path: the checkpoint.
        known: classes that the user has named on the command line. Of others that are not g5's
            nothing is imported.
        keys: under which the user names those of model and front end, for messages.

    Raises:
        UserError: if it cannot be read, names a class that is not here, or does not fit its own
            configuration.
    """
    path = Path(path)
    content = load(path)
    header, state = content["g5"], content["state_dict"]
    for key in ("config", "front_end", "normalize", "label_map"):
        if key not in header:
            raise UserError(
                f"{path}: a checkpoint without {key}: how it hears cannot be known; "
                "give one that g5 train wrote"
            )
    with unreadable(path, advice=ANOTHER):
        return _restored(path, header, state, frozenset(known), keys)


def _restored(
    path: Path, header: dict[str, Any], state: Any, named: frozenset[str], keys: tuple[str, str]
) -> Restored:
    config = header["config"]
    try:
        model = build(Node.of(config["arch"]["model"], named), expect=ProtoNet, where=keys[0])
        front_end = build(Node.of(header["front_end"], named), expect=FrontEnd, where=keys[1])
        normalize = Normalize(**header["normalize"], channels=front_end.channels)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    load_weights(model, state, "model.", path)
    load_weights(normalize, state, "normalize.", path)
    for part in (model, front_end, normalize):
        part.eval()
    return Restored(model, front_end, normalize, config, header["label_map"], header, path, named)
