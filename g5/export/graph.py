"""PyTorch modules as ONNX graphs, by torch's exporter with the operators that it lacks.

Shapes: B clips, S samples, D embedding width, C classes.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.export.parts import FrontEndGraph

OPSET = 17


class Graph(nn.Module):
    """Waveforms ``(B, S)`` to embeddings ``(B, D)``, and to what a head says of them.

    Args:
        encoder: with its front end.
        head: from `g5.export.parts.head_graph`, or None.
        dtype: of the front end's transform.
    """

    def __init__(self, encoder: LoadedEncoder, head: nn.Module | None, dtype: torch.dtype) -> None:
        super().__init__()
        front_end = encoder.front_end
        self.front_end = None if front_end is None else FrontEndGraph(front_end, dtype)
        self.normalize, self.encoder, self.head = encoder.normalize, encoder.module, head

    def forward(self, wave_BS: Tensor) -> tuple[Tensor, ...]:
        """The embeddings, and the scores of a head."""
        x = wave_BS
        if self.front_end is not None:
            x = self.front_end(wave_BS)[:, None]
        if self.normalize is not None:
            x = self.normalize(x)
        z_BD = self.encoder(x).float()
        return (z_BD,) if self.head is None else (z_BD, self.head(z_BD))


def written(
    module: nn.Module, x: Tensor, names: Sequence[str], *, opset: int = OPSET,
    any_length: bool = False,
) -> bytes:  # fmt: skip
    """A module as the bytes of an ONNX file, of any batch.

    Args:
        module: one input, one or more outputs.
        x: an input.
        names: of the input, and of the outputs.
        opset: ONNX's, 17 at least.
        any_length: of the input's second axis, too.
    """
    axes = {name: {0: "batch"} for name in names}
    if any_length:
        axes[names[0]][1] = "samples"
    file: Any = io.BytesIO()  # the stub knows paths alone
    with _own_words(opset), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A copy: the exporter changes what it is given.
        torch.onnx.export(
            deepcopy(module).eval(), (x,), file, dynamo=False, opset_version=opset,
            input_names=[names[0]], output_names=list(names[1:]), dynamic_axes=axes,
        )  # fmt: skip
    return file.getvalue()


@contextmanager
def _own_words(opset: int) -> Iterator[None]:
    """Operators that torch's exporter lacks, or has for some sizes alone."""
    said, pools = (
        torch._C._jit_onnx_log,
        (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d),
    )
    torch._C._jit_onnx_log = lambda *_: None  # it prints a graph that fails, whole
    functional.adaptive_avg_pool1d = functional.adaptive_avg_pool2d = _pool
    registry: Any = torch.onnx
    registry.register_custom_op_symbolic("aten::expm1", _expm1, opset)
    try:
        yield
    finally:
        torch._C._jit_onnx_log = said
        functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d = pools
        registry.unregister_custom_op_symbolic("aten::expm1", opset)


def _pool(x: Tensor, output_size: Any) -> Tensor:
    """Means over parts of an axis: a product with a matrix, unless it stays as long as it is."""
    sizes = output_size if isinstance(output_size, list | tuple) else [output_size]
    for axis, wanted in zip(range(-len(sizes), 0), sizes, strict=True):
        size = int(x.shape[axis])
        if wanted is None or int(wanted) == size:
            continue
        means = torch.adaptive_avg_pool1d(torch.eye(size)[None], [int(wanted)])[0]
        x = x @ means if axis == -1 else means.T @ x
    return x


def _expm1(g: Any, x: Any) -> Any:
    one = g.op("CastLike", g.op("Constant", value_t=torch.tensor(1.0)), x)
    return g.op("Sub", g.op("Exp", x), one)
