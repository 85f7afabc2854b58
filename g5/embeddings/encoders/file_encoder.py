"""What encoders that others publish as files have in common: waveforms in, a vector for each out.

Shapes: B clips, S samples, T frames, D embedding width.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from archs.protonet import Encoder
from g5.common.errors import UserError, brief
from g5.common.words import counted

# A clip whose peak is below this is silent, and stays so.
QUIETEST = np.float32(1e-6)


class FileEncoder(Encoder):
    """Waveforms ``(B, S)`` to embeddings ``(B, D)``; it cannot be trained.

    An output with a time axis, ``(B, T, D)``, is averaged over it.

    Attributes:
        path: the file.
        outputs: names of what it gives.
        output: the name of the embeddings among them.
        samples: the S that it demands; None: any.
        one_by_one: it takes one clip at a time.
        peak: the loudest sample of a clip is scaled to this; None: clips stay as they are.
        sr: Hz, from the metadata; None if it does not say.
        window_s: seconds, from the metadata or the input's length; None if neither says.
    """

    path: Path
    outputs: list[str]
    output: str
    samples: int | None
    one_by_one: bool
    peak: float | None = None
    sr: int | None = None
    window_s: float | None = None

    @abstractmethod
    def run(self, x_BS: np.ndarray) -> np.ndarray:
        """What the file gives for clips; B is 1 where it takes one by one."""

    def forward(self, wave_BS: Tensor) -> Tensor:
        """Embed waveforms: ``(B, S) -> (B, D)``; no gradient passes.

        Raises:
            UserError: what comes out is no vector for each clip.
        """
        x_BS = wave_BS.detach().cpu().numpy().astype(np.float32)
        if self.samples and x_BS.shape[1] != self.samples:
            x_BS = _fitted(x_BS, self.samples)
        if self.peak:
            loudest_B1 = np.abs(x_BS).max(axis=1, keepdims=True)
            x_BS = x_BS * (np.float32(self.peak) / np.maximum(loudest_B1, QUIETEST))
        parts = np.split(x_BS, len(x_BS)) if self.one_by_one and len(x_BS) > 1 else [x_BS]
        return torch.from_numpy(np.concatenate([self._vectors(part) for part in parts]))

    def _vectors(self, x_BS: np.ndarray) -> np.ndarray:
        out = self.run(x_BS)
        whole = out[None] if len(x_BS) == 1 and out.ndim == 1 else out
        axes = whole.shape[1:]
        if len(axes) == 2:
            whole = whole.mean(axis=1)
        elif sum(size > 1 for size in axes) > 1:
            axes = ()
        if not axes or len(whole) != len(x_BS) or whole.dtype.kind != "f":
            others = ", ".join(name for name in self.outputs if name != self.output)
            raise UserError(
                f"{self.path}: its output {self.output} is {whole.dtype} {out.shape} for "
                f"{counted(len(x_BS), 'clip')}, no vector for each; "
                + (f"say encoder.output=NAME, one of {others}" if others else "it is no encoder")
            )
        return np.ascontiguousarray(whole.reshape(len(x_BS), -1), np.float32)

    def tried_width(self) -> int:
        """D, as a second of silence shows."""
        try:
            clips = 1 if self.one_by_one else 2
            return self(torch.zeros(clips, self.samples or 16000)).shape[1]
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{self.path}: fails on a second of silence ({brief(error)})"
            ) from error


def chosen_output(
    path: Path, outputs: Iterable[tuple[str, Sequence[object]]], said: str | None
) -> str:
    """Which of a file's outputs, by name and shape, are the embeddings.

    Args:
        path: for messages.
        outputs: name and shape of each.
        said: the user's word; None: the only one, the only vector called an embedding, or the
            only one called so.

    Raises:
        UserError: there is none, or it cannot be told.
    """
    outputs = list(outputs)
    named = [one for one in outputs if "embedding" in one[0].lower()]
    options = [
        [one for one in outputs if one[0] == said] if said else outputs,
        [one for one in named if len(one[1]) == 2],
        named,
    ]
    found = next((few for few in options if len(few) == 1), None) if not said else options[0]
    if not found:
        names = ", ".join(name for name, _ in outputs)
        raise UserError(
            f"{path}: which of its outputs ({names}) are the embeddings? say encoder.output=NAME"
        )
    return found[0][0]


def existing(path: str) -> Path:
    """The file; `UserError` where there is none."""
    if not Path(path).is_file():
        raise UserError(f"{path}: there is no such file")
    return Path(path)


def _fitted(x_BS: np.ndarray, samples: int) -> np.ndarray:
    """Cut, or pad with silence, to the length the file demands."""
    short = samples - x_BS.shape[1]
    return np.pad(x_BS, ((0, 0), (0, short))) if short > 0 else x_BS[:, :samples]
