"""Tiny encoders as others publish them, ONNX and TFLite files; for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest


def small_onnx(
    path: Path,
    *,
    samples: int | str = "samples",
    inputs: int = 1,
    frames: bool = False,
    grid: bool = False,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Waveforms (batch, samples) -> (batch, 4), by a strided convolution and a mean.

    ``grid`` has the outputs of Perch v2: the embedding, where it comes from, and labels.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 1, 16)).astype(np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["wave", "axis"], ["x"]),
        helper.make_node("Conv", ["x", "weight"], ["y"], strides=[8]),
        helper.make_node("Abs", ["y"], ["a"]),
    ]
    if frames:
        nodes.append(helper.make_node("Transpose", ["a"], ["embedding"], perm=[0, 2, 1]))
    else:
        nodes.append(helper.make_node("ReduceMean", ["a"], ["embedding"], axes=[2], keepdims=0))
    wave = [helper.make_tensor_value_info("wave", TensorProto.FLOAT, ["batch", samples])]
    wave += [
        helper.make_tensor_value_info(f"more_{i}", TensorProto.FLOAT, [1])
        for i in range(inputs - 1)
    ]
    shape = ["batch", "frames", 4] if frames else ["batch", 4]
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, shape)
    constants = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    outs = [out]
    if grid:
        nodes.append(helper.make_node("Transpose", ["a"], ["t"], perm=[0, 2, 1]))
        nodes.append(helper.make_node("Unsqueeze", ["t", "axis"], ["spatial_embedding"]))
        nodes.append(helper.make_node("Softmax", ["embedding"], ["label"]))
        for name, axes in (("spatial_embedding", [1, "frames"]), ("label", [])):
            shape = ["batch", *axes, 4]
            outs.insert(0, helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    graph = helper.make_graph(nodes, "encoder", wave, outs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path


def small_tflite(path: Path, samples: int = 4000) -> Path:
    """Waveforms (1, samples) -> hidden (1, 4), |.| of a matrix -> scores (1, 3)."""
    pytest.importorskip("ai_edge_litert")
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    rng = np.random.default_rng(0)
    matrices = {"w1": rng.normal(size=(4, samples)), "w2": rng.normal(size=(3, 4))}
    shapes = {"wave": (1, samples), "w1": (4, samples), "sums": (1, 4), "hidden": (1, 4),
              "w2": (3, 4), "scores": (1, 3)}  # fmt: skip
    model: Any = schema.ModelT()
    graph: Any = schema.SubGraphT()
    model.version, model.buffers = 3, [schema.BufferT()]
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [], [0], [5], []
    for name, shape in shapes.items():
        tensor: Any = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), 0
        if name in matrices:
            buffer: Any = schema.BufferT()
            buffer.data = np.frombuffer(matrices[name].astype("<f4").tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
    builtin = schema.BuiltinOperator
    model.operatorCodes = [_code(builtin.FULLY_CONNECTED), _code(builtin.ABS)]
    for code, inputs, output in ((0, [0, 1, -1], 2), (1, [2], 3), (0, [3, 4, -1], 5)):
        operator: Any = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, [output]
        if code == 0:
            operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
            operator.builtinOptions = schema.FullyConnectedOptionsT()
        graph.operators.append(operator)
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def _code(number: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    code: Any = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, number, 1
    return code
