"""Read the torch weights of an exported student back from its graph, undoing what the export did to them.

With these weights a student that has only ONNX files can be trained further. int8 weights are dequantised.
"""

from __future__ import annotations

from pathlib import Path

import numpy
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from leafkit.onnx.names import FACTOR, MODULES, SMOOTHED, TABLE, TABLE_INT8, TABLE_REST, TABLE_STEP
from leafkit.search.query_encoder import FILES, ExportRecord
from leafkit.types import Float32

PRODUCTS = {"Gemm", "MatMul", "MatMulInteger"}
QUANTISED = "_quantized"


def read_weights(folder: Path) -> dict[str, Float32]:
    """Return the weights of the exported student in ``folder`` by their names in torch, like ``2.linear.weight``.

    The float32 file is read if it is present, else the int8 file. The exporter stores equal weights once, under one
    name, so the others are missing from the result. Only a model that was never trained has equal weights.
    Raises `InputError` if there is no export, and `DamageError` for a file that is missing or changed.
    """
    record = ExportRecord.read(folder)
    files = [FILES[name] for name in reversed(record.precisions)]
    file = next((name for name in files if (folder / name).is_file()), files[-1])
    graph = _Graph(onnx.load(str(record.check(folder, file))))
    named = {_name_in_torch(name): values for name, values in graph.weights().items()}
    return {name: numpy.ascontiguousarray(values) for name, values in named.items() if name is not None}


class _Graph:
    """A student's graph as `leafkit.onnx.graph` and `leafkit.onnx.int8` write it."""

    def __init__(self, model: ModelProto) -> None:
        self._nodes = model.graph.node
        self._values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def weights(self) -> dict[str, Float32]:
        """Return the weights by their names in the graph, with step sizes and channel factors applied."""
        found = {name: values for name, values in self._values.items() if values.dtype == numpy.float32}
        for name, values in self._values.items():
            if name.endswith(TABLE_INT8):
                table = name.removesuffix(TABLE_INT8)
                found[table] = values * found.pop(table + TABLE_STEP)
        for node in self._nodes:
            if node.op_type in PRODUCTS and node.input[1] in self._values:
                name, values = self._matrix(node)
                for used in (node.input[1], _scale(node)):
                    found.pop(used, None)
                found[name] = values
        return found

    def _matrix(self, node: NodeProto) -> tuple[str, Float32]:
        """Return name and values of the matrix of a product, in torch's shape (out, in)."""
        name = node.input[1]
        values = self._values[name]
        if node.op_type == "Gemm" and any(given.name == "transB" and given.i for given in node.attribute):
            return name, values
        if node.op_type == "MatMulInteger":
            name = name.removesuffix(QUANTISED)
            values = (values.astype(numpy.float32) - self._values[node.input[3]]) * self._values[_scale(node)]
        if smoothed := SMOOTHED.fullmatch(name):
            name = smoothed["matrix"]
            values = values * self._values[smoothed["activation"] + FACTOR][:, None]
        return name, values.T


def _scale(node: NodeProto) -> str:
    """Return the name of the step sizes of a quantised matrix."""
    return node.input[1].removesuffix(QUANTISED) + "_scale"


def _name_in_torch(name: str) -> str | None:
    """Return the torch name of the weight ``name`` of a graph; None for a tensor that is no weight of the student."""
    if name.startswith(MODULES):
        return name.removeprefix(MODULES)
    if name.startswith(TABLE):
        return "0.embedding." + name.removeprefix(TABLE)
    if name.startswith(TABLE_REST):
        number, _, rest = name.removeprefix(TABLE_REST).partition(".")
        return f"{int(number) + 1}.{rest}"
    return None
