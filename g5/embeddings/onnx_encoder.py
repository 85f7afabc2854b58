"""Any ONNX file as an encoder, through onnxruntime: BirdNET, Perch and AVES exports.

Shapes: B clips, S samples, T frames, D embedding width.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archs.protonet import Encoder
from g5.common.errors import UserError, brief

RATE_NAMES = ("sample_rate", "sample_rate_hz", "sr", "rate_hz")
WINDOW_NAMES = ("window_s", "window_seconds", "duration_s")


class OnnxEncoder(Encoder):
    """Waveforms ``(B, S)`` to embeddings ``(B, D)``; it cannot be trained.

    An output with a time axis, ``(B, T, D)``, is averaged over it.

    Args:
        path: the file.
        input: name of the input with the waveforms; None: the only one.
        output: name of the output with the embeddings; None: the only one, or the one whose name
            has "embedding" in it.
        embedding_dim: None: as the file declares it, or as a trial run shows.

    Attributes:
        sr: Hz, from the metadata; None if it does not say.
        window_s: seconds, from the metadata or the input's length; None if neither says.

    Raises:
        UserError: it cannot be read, or it has several inputs or outputs and none is chosen.
    """

    def __init__(
        self, *, path: str, input: str | None, output: str | None, embedding_dim: int | None
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self._session = _session(self.path)
        self._input = self._chosen_input(input)
        self._output = self._chosen_output(output)
        meta = self._session.get_modelmeta().custom_metadata_map
        rate = _number(meta, RATE_NAMES)
        self.sr = None if rate is None else int(rate)
        size = self._input.shape[-1]
        self.samples = size if isinstance(size, int) else None
        self.window_s = _number(meta, WINDOW_NAMES)
        if self.window_s is None and self.sr and self.samples:
            self.window_s = self.samples / self.sr
        batch = self._input.shape[0]
        self._one_by_one = isinstance(batch, int)
        declared = self._output.shape[-1]
        self.embedding_dim = (
            embedding_dim or (declared if isinstance(declared, int) else 0) or self._tried_width()
        )

    def forward(self, wave_BS: Tensor) -> Tensor:
        """Embed waveforms: ``(B, S) -> (B, D)``; no gradient passes."""
        x_BS = wave_BS.detach().cpu().numpy().astype(np.float32)
        if self.samples and x_BS.shape[1] != self.samples:
            x_BS = _fitted(x_BS, self.samples)
        shape = tuple(1 for _ in self._input.shape[1:-1])
        x = x_BS.reshape(len(x_BS), *shape, x_BS.shape[1])
        name, wanted = self._input.name, [self._output.name]
        parts = np.split(x, len(x)) if self._one_by_one and len(x) > 1 else [x]
        out = np.concatenate([self._session.run(wanted, {name: part})[0] for part in parts])
        if out.ndim == 3:
            out = out.mean(axis=1)
        return torch.from_numpy(np.ascontiguousarray(out.reshape(len(out), -1)))

    def _chosen_input(self, name: str | None) -> Any:
        inputs = self._session.get_inputs()
        names = [one.name for one in inputs]
        if len(inputs) != 1:
            raise UserError(
                f"{self.path}: has {len(inputs)} inputs ({', '.join(names)}), where an encoder "
                "takes waveforms alone; export it with one input"
            )
        if name is not None and name not in names:
            raise UserError(f"{self.path}: has no input {name}; it has {', '.join(names)}")
        if "float" not in inputs[0].type:
            raise UserError(f"{self.path}: its input is {inputs[0].type}; waveforms are float")
        return inputs[0]

    def _chosen_output(self, name: str | None) -> Any:
        outputs = self._session.get_outputs()
        if name is not None:
            found = [one for one in outputs if one.name == name]
        else:
            named = [one for one in outputs if "embedding" in one.name.lower()]
            found = outputs if len(outputs) == 1 else named
        if len(found) != 1:
            names = ", ".join(one.name for one in outputs)
            raise UserError(
                f"{self.path}: which of its outputs ({names}) are the embeddings? say "
                "encoder.output=NAME"
            )
        return found[0]

    def _tried_width(self) -> int:
        trial = torch.zeros(1, self.samples or 16000)
        try:
            return self(trial).shape[1]
        except Exception as error:
            raise UserError(
                f"{self.path}: fails on a second of silence ({brief(error)})"
            ) from error


def _session(path: Path) -> Any:
    import onnxruntime

    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=onnxruntime.get_available_providers()
        )
    except Exception as error:
        raise UserError(f"{path}: cannot be read as an ONNX model ({brief(error)})") from error


def _number(meta: dict[str, str], names: tuple[str, ...]) -> float | None:
    for name in names:
        if name in meta:
            try:
                return float(meta[name])
            except ValueError:
                return None
    return None


def _fitted(x_BS: np.ndarray, samples: int) -> np.ndarray:
    """Cut, or pad with silence, to the length the file demands."""
    short = samples - x_BS.shape[1]
    return np.pad(x_BS, ((0, 0), (0, short))) if short > 0 else x_BS[:, :samples]
