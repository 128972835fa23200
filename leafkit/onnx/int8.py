"""Quantise a student's graph to int8 so that rankings stay, with the same vectors on every processor.

Plain dynamic quantisation has one step size for a whole activation matrix. A few channels and tokens of a transformer
are a hundred times larger than the rest, so that the rest is rounded away. Three changes avoid this, none of which
changes the float32 function. The scale of each channel moves into the weights (SmoothQuant,
https://arxiv.org/abs/2211.10438). Rows that a feed-forward block widened are divided by their largest entry. Each
token of a table has its own step size.

Weights use 7 of 8 bits: with 8, processors without VNNI saturate and give other vectors. The graph uses standard ONNX
operators only, so that other runtimes can read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import onnx
import onnxruntime
from numpy.typing import ArrayLike
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.onnx_model import ONNXModel

from leafkit.onnx.graph import quiet_exporter
from leafkit.onnx.head import HEAD
from leafkit.onnx.names import FACTOR, TABLE_INT8, TABLE_STEP
from leafkit.types import Float32, Int64

# The exponent with which a channel's size moves into the weights: the square root, as in the paper.
SHARE = 0.5
# A channel counts as at least this share of the mean channel, in case the calibration texts hardly use it.
LEAST_PEAK = 0.1
# The least number of rows of a table that is stored as int8: vocabularies, but not the positions of short texts.
TABLE_ROWS = 4096
STEPS = 127
TINY = numpy.float32(1e-6)


def write_int8(source: Path, path: Path, feeds: Sequence[dict[str, Int64]]) -> None:
    """Write the float32 graph at ``source`` to ``path`` with int8 weights and dynamically quantised activations.

    ``feeds`` are the inputs of a few texts, on which the sizes of channels are measured.
    """
    model = prepare(onnx.load(str(source)), feeds)
    narrow_tables(model)
    with quiet_exporter():
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            # The quantiser writes the head as a product and a sum. A float32 head costs a few microseconds, is not
            # rounded, and can be replaced in the file (`leafkit.onnx.head`).
            nodes_to_exclude=[f"{HEAD}_MatMul"],
        )


def prepare(model: ModelProto, feeds: Sequence[dict[str, Int64]]) -> ModelProto:
    """Prepare ``model`` for quantisation: the same float32 function, with activations of similar size."""
    editor = ONNXModel(model)
    # The exporter's inferred shapes contradict those of the quantiser, which then rejects the graph.
    del editor.model.graph.value_info[:]
    _smooth(editor.model, feeds)
    _scale_rows(editor.model)
    _drop_unused(editor.model)
    return editor.model


def narrow_tables(model: ModelProto) -> None:
    """Store the large embedding tables of ``model`` as int8 with one step size a row, in place."""
    weights = _weights(model)
    after: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        table = weights.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or len(table.dims) != 2 or table.dims[0] < TABLE_ROWS:
            continue
        rows = numpy_helper.to_array(table)
        step = numpy.maximum(numpy.abs(rows).max(axis=1, keepdims=True), TINY) / STEPS
        name, ids, result = table.name, node.input[1], node.output[0]
        _store(model, name + TABLE_STEP, step)
        _store(model, name + TABLE_INT8, numpy.rint(rows / step).astype(numpy.int8))
        node.input[0], node.output[0] = name + TABLE_INT8, f"{result}_int8"
        after[node.output[0]] = [
            helper.make_node("Cast", [f"{result}_int8"], [f"{result}_float"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [name + TABLE_STEP, ids], [f"{result}_step"]),
            helper.make_node("Mul", [f"{result}_float", f"{result}_step"], [result]),
        ]
    _insert(model, after)
    _drop_unused(model)


def _smooth(model: ModelProto, feeds: Sequence[dict[str, Int64]]) -> None:
    """Divide each input channel of a matrix by a factor for its size, and multiply the matrix's row by that factor."""
    products: dict[str, list[NodeProto]] = {}
    for node in _products(model):
        products.setdefault(node.input[0], []).append(node)
    if not products:  # a token table has no matrix before its head
        return
    peaks = _peaks(model, list(products), feeds)
    weights = _weights(model)
    after: dict[str, list[NodeProto]] = {}
    for activation, nodes in products.items():
        matrices = {node.input[1]: numpy_helper.to_array(weights[node.input[1]]) for node in nodes}
        size = numpy.max([numpy.abs(matrix).max(axis=1) for matrix in matrices.values()], axis=0)
        # A channel that is nearly zero on these texts may be large on others, so its factor is bounded.
        peak = numpy.maximum(peaks[activation], LEAST_PEAK * peaks[activation].mean() + TINY)
        factor = peak**SHARE / numpy.maximum(size, TINY) ** (1 - SHARE)
        factor = (factor / numpy.exp(numpy.log(factor).mean())).astype(numpy.float32)
        smooth = f"{activation}_smooth"
        _store(model, activation + FACTOR, 1 / factor)
        for node in nodes:
            scaled = f"{node.input[1]}_of_{smooth}"
            _store(model, scaled, matrices[node.input[1]] * factor[:, None])
            node.input[0], node.input[1] = smooth, scaled
        after[activation] = [helper.make_node("Mul", [activation, activation + FACTOR], [smooth])]
    _insert(model, after)


def _scale_rows(model: ModelProto) -> None:
    """Scale each input row of a narrowing matrix to a largest entry of 1, and scale the product back."""
    weights = _weights(model)
    _store(model, "last_axis", numpy.array([-1], dtype=numpy.int64))
    _store(model, "tiny", TINY)
    after: dict[str, list[NodeProto]] = {}
    for node in _products(model):
        wide, narrow = weights[node.input[1]].dims
        if wide <= narrow:
            continue
        rows, result = node.input[0], node.output[0]
        after[rows] = [
            helper.make_node("Abs", [rows], [f"{rows}_abs"]),
            helper.make_node("ReduceMax", [f"{rows}_abs", "last_axis"], [f"{rows}_max"], keepdims=1),
            helper.make_node("Max", [f"{rows}_max", "tiny"], [f"{rows}_size"]),
            helper.make_node("Div", [rows, f"{rows}_size"], [f"{rows}_unit"]),
        ]
        node.input[0], node.output[0] = f"{rows}_unit", f"{result}_unit"
        after[f"{result}_unit"] = [helper.make_node("Mul", [f"{result}_unit", f"{rows}_size"], [result])]
    _insert(model, after)


def _peaks(model: ModelProto, names: Sequence[str], feeds: Sequence[dict[str, Int64]]) -> dict[str, Float32]:
    """Return the largest absolute value of each channel of the activations ``names``, over all ``feeds``."""
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    peaks = [[_peak_of_channels(values) for values in session.run(None, feed)] for feed in feeds]
    return {name: numpy.max(found, axis=0) for name, found in zip(names, zip(*peaks, strict=True), strict=True)}


def _peak_of_channels(values: Any) -> Float32:
    """Return the largest absolute value of each last-axis entry of ``values``, which onnxruntime types loosely."""
    return numpy.abs(values).reshape(-1, values.shape[-1]).max(axis=0)


def _weights(model: ModelProto) -> dict[str, TensorProto]:
    return {weight.name: weight for weight in model.graph.initializer if weight.data_type == TensorProto.FLOAT}


def _products(model: ModelProto) -> list[NodeProto]:
    """Return the nodes that multiply an activation by a matrix of weights."""
    matrices = {name for name, weight in _weights(model).items() if len(weight.dims) == 2}
    return [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in matrices]


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    remaining = [weight for weight in model.graph.initializer if weight.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(remaining)


def _store(model: ModelProto, name: str, values: ArrayLike) -> None:
    model.graph.initializer.append(numpy_helper.from_array(numpy.asarray(values), name))


def _insert(model: ModelProto, after: dict[str, list[NodeProto]]) -> None:
    """Insert nodes into the graph: those of ``after[value]`` follow the node whose output is ``value``."""
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        for output in node.output:
            nodes.extend(after.get(output, ()))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
