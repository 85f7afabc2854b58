"""Any TFLite file as an encoder, through LiteRT, an optional dependency (`pip install g5[tflite]`).

Shapes: B clips, S samples.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from g5.common.errors import UserError, brief, needs
from g5.embeddings.encoders.file_encoder import FileEncoder, chosen_output, existing
from preprocessing.decoder_noise import quiet_decoder


class TFLiteEncoder(FileEncoder):
    """A TFLite file on the CPU, one clip at a time; any number of threads may call it.

    Args:
        path: the file.
        output: name of the tensor with the embeddings, also one inside of the graph; None: as
            `chosen_output`.
        embedding_dim: None: as a trial run shows.

    Raises:
        UserError: LiteRT is not installed, it cannot be read, or it takes no waveforms.
    """

    def __init__(self, *, path: str, output: str | None, embedding_dim: int | None) -> None:
        super().__init__()
        self.path = existing(path)
        self._content = self.path.read_bytes()
        self._of_thread = threading.local()
        first = self._interpreter()
        self._input = self._chosen_input(first.get_input_details())
        shape_of = {one["name"]: one["shape"] for one in first.get_output_details()}
        self.outputs = list(shape_of)
        inner = {one["name"]: one["index"] for one in first.get_tensor_details()}
        if output in inner and output not in shape_of:
            self._content = with_output(self._content, inner[output])
            shape_of[output] = ()
            self._of_thread = threading.local()
        self.output = chosen_output(self.path, shape_of.items(), output)
        size = int(self._input["shape_signature"][-1])
        self.samples = size if size > 1 else None
        self.one_by_one = True
        self.embedding_dim = embedding_dim or self.tried_width()

    def run(self, x_BS: np.ndarray) -> np.ndarray:
        interpreter, index = self._interpreter(), self._input["index"]
        shape = [*(1 for _ in self._input["shape"][:-1]), x_BS.shape[1]]
        if self._of_thread.shape != shape:
            interpreter.resize_tensor_input(index, shape)
            interpreter.allocate_tensors()
            self._of_thread.shape = shape
        interpreter.set_tensor(index, x_BS.reshape(shape))
        interpreter.invoke()
        of = {one["name"]: one["index"] for one in interpreter.get_output_details()}
        return interpreter.get_tensor(of[self.output])

    def _interpreter(self) -> Any:
        """This thread's own."""
        if not hasattr(self._of_thread, "interpreter"):
            with quiet_decoder():
                self._of_thread.interpreter = _opened(self.path, self._content)
            self._of_thread.shape = None
        return self._of_thread.interpreter

    def _chosen_input(self, inputs: list[Any]) -> Any:
        if len(inputs) != 1 or inputs[0]["dtype"] != np.float32:
            said = ", ".join(f"{one['name']} ({one['dtype'].__name__})" for one in inputs)
            raise UserError(
                f"{self.path}: takes {said}, where an encoder takes waveforms alone, as float32"
            )
        return inputs[0]


def _opened(path: Path, content: bytes) -> Any:
    with needs(f"{path}: a TFLite file needs LiteRT", "tflite"):
        from ai_edge_litert.interpreter import Interpreter
    try:
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    except Exception as error:
        raise UserError(f"{path}: cannot be read as a TFLite model ({brief(error)})") from error
    return interpreter


def with_output(content: bytes, index: int) -> bytes:
    """A TFLite model that gives one of its inner tensors in place of its first output.

    Asking an interpreter to keep all of its tensors instead makes it slower and larger.
    """
    from ai_edge_litert import schema_py_generated as schema

    changed = bytearray(content)
    graph: Any = schema.Model.GetRootAs(changed, 0).Subgraphs(0)
    table = graph._tab
    # Field 2 of a subgraph: the numbers of its outputs, int32 each.
    place = table.Vector(table.Offset(8))
    changed[place : place + 4] = np.int32(index).tobytes()
    return bytes(changed)
