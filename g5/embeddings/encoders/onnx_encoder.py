"""Any ONNX file as an encoder, through onnxruntime: BirdNET, Perch and AVES exports.

Shapes: B clips, S samples.
"""

from pathlib import Path
from typing import Any

import numpy as np

from g5.common.errors import UserError, brief
from g5.embeddings.encoders.file_encoder import FileEncoder, chosen_output, existing

RATE_NAMES = ("sample_rate", "sample_rate_hz", "sr", "rate_hz")
WINDOW_NAMES = ("window_s", "window_seconds", "duration_s")


class OnnxEncoder(FileEncoder):
    """An ONNX file; on a GPU where onnxruntime-gpu is installed.

    Args:
        path: the file.
        input: name of the input with the waveforms; None: the only one.
        output: name of the output with the embeddings; None: as `chosen_output`.
        embedding_dim: None: as the file declares it, or as a trial run shows.

    Attributes:
        meta: what the file says of itself.

    Raises:
        UserError: it cannot be read, or it has several inputs or outputs and none is chosen.
    """

    def __init__(
        self, *, path: str, input: str | None, output: str | None, embedding_dim: int | None
    ) -> None:
        super().__init__()
        self.path = existing(path)
        self._session = _session(self.path)
        self._input = self._chosen_input(input)
        shape_of = {one.name: one.shape for one in self._session.get_outputs()}
        self.outputs = list(shape_of)
        self.output = chosen_output(self.path, shape_of.items(), output)
        self.meta = self._session.get_modelmeta().custom_metadata_map
        rate = _number(self.meta, RATE_NAMES)
        self.sr = None if rate is None else int(rate)
        size = self._input.shape[-1]
        self.samples = size if isinstance(size, int) else None
        self.window_s = _number(self.meta, WINDOW_NAMES)
        if self.window_s is None and self.sr and self.samples:
            self.window_s = self.samples / self.sr
        self.one_by_one = isinstance(self._input.shape[0], int)
        declared = shape_of[self.output]
        known = len(declared) in (2, 3) and isinstance(declared[-1], int)
        self.embedding_dim = embedding_dim or (declared[-1] if known else self.tried_width())

    def run(self, x_BS: np.ndarray) -> np.ndarray:
        shape = tuple(1 for _ in self._input.shape[1:-1])
        x = x_BS.reshape(len(x_BS), *shape, x_BS.shape[1])
        return self._session.run([self.output], {self._input.name: x})[0]

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


def _session(path: Path) -> Any:
    import onnxruntime

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
