"""A head behind an encoder that is an ONNX file of others, as one graph.

Shapes: B clips, S samples, T frames, D embedding width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from g5.embeddings.encoders.file_encoder import QUIETEST
from g5.embeddings.encoders.onnx_encoder import OnnxEncoder
from g5.export.graph import OPSET, written

FILE, HEAD = "file/", "head/"
OUTPUTS = (f"{HEAD}embedding", f"{HEAD}scores")


def joined(encoder: OnnxEncoder, head: nn.Module) -> bytes:
    """The file's graph with the head's behind it, and before it the scaling that it wants.

    Args:
        encoder: of the file.
        head: from `g5.export.parts.head_graph`.

    Raises:
        UserError: the file is of an older set of operators than heads are written in.
    """
    import onnx

    model = onnx.load(str(encoder.path))
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    if opset < OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
        opset = OPSET
    shape = [dim.dim_value or 2 for dim in _one(model.graph.output, encoder.output)]
    behind = written(
        _Behind(head), torch.zeros(2, *shape[1:]), ["z", "embedding", "scores"], opset=opset
    )
    model = onnx.compose.add_prefix(model, FILE)
    (given,) = (name.name for name in model.graph.input)
    axes = len(_one(model.graph.input, given))
    scale = _Scale(encoder.peak)
    x = torch.zeros(*[2] * (axes - 1), encoder.samples or 2)
    before = written(scale, x, ["waveform", "scaled"], opset=opset, any_length=axes == 2)
    whole = _merged(onnx.load_from_string(before), model, "scaled", given)
    head_part = onnx.compose.add_prefix(onnx.load_from_string(behind), HEAD)
    whole = _merged(whole, head_part, FILE + encoder.output, HEAD + "z")
    for node in whole.graph.node:
        for names in (node.input, node.output):
            names[:] = [name.removeprefix(HEAD) if name in OUTPUTS else name for name in names]
    for one in whole.graph.output:
        one.name = one.name.removeprefix(HEAD)
    onnx.checker.check_model(whole)
    return whole.SerializeToString()


def _one(values: Any, name: str) -> Any:
    """The axes of an input or output."""
    return next(one.type.tensor_type.shape.dim for one in values if one.name == name)


def _merged(first: Any, then: Any, out: str, into: str) -> Any:
    import onnx

    first.ir_version = then.ir_version = max(first.ir_version, then.ir_version)
    outputs = [one.name for one in then.graph.output]
    return onnx.compose.merge_models(first, then, io_map=[(out, into)], outputs=outputs)


class _Behind(nn.Module):
    """The vectors of an encoder, averaged over time where it has frames, and a head's scores."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z_BD = z.mean(dim=1) if z.ndim == 3 else z.flatten(1)
        return z_BD.clone(), self.head(z_BD)


class _Scale(nn.Module):
    """Clips whose loudest sample is scaled to a level, as `FileEncoder` does; or as they are."""

    def __init__(self, peak: float | None) -> None:
        super().__init__()
        self.peak, self.quietest = peak, float(QUIETEST)

    def forward(self, wave: Tensor) -> Tensor:
        if self.peak is None:
            return wave.clone()
        loudest = wave.abs().amax(dim=-1, keepdim=True)
        return wave * (self.peak / loudest.clamp(min=self.quietest))
