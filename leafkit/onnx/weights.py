"""The weights of an exported student, read back from its graph: what the export did to them, undone.

So a student that came as ONNX alone can be trained on. Of int8 weights it is what their steps stand for.
"""

from __future__ import annotations

from pathlib import Path

import numpy
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from leafkit.onnx.graph import MODULES, TABLE, TABLE_REST
from leafkit.onnx.int8 import FACTOR, SMOOTHED, TABLE_INT8, TABLE_STEP
from leafkit.query import FILES, ExportRecord
from leafkit.types import Float32

PRODUCTS = {"Gemm", "MatMul", "MatMulInteger"}


def read_weights(folder: Path) -> dict[str, Float32]:
    """The weights of the exported student in ``folder`` by their names in torch, such as ``2.linear.weight``.

    They are read from the float32 file where it is there. The exporter gives matrices names of its own: one is known
    by the bias that is added to its product. One without a bias of its own is left out: the exporter keeps equal
    weights once, as the biases of a model that never was trained are.
    Raises `InputError` where there is no export, and `DamageError` for a file that is missing or changed.
    """
    record = ExportRecord.read(folder)
    files = [FILES[name] for name in reversed(record.precisions)]
    file = next((name for name in files if (folder / name).is_file()), files[-1])
    return _Graph(onnx.load(str(record.check(folder, file)))).weights()


class _Graph:
    """A student's graph, as `leafkit.onnx.graph` and `leafkit.onnx.int8` write it."""

    def __init__(self, model: ModelProto) -> None:
        self._nodes = model.graph.node
        self._values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def weights(self) -> dict[str, Float32]:
        found = {name: values for name, values in self._values.items() if values.dtype == numpy.float32}
        for name, values in self._values.items():
            if name.endswith(TABLE_INT8):
                table = name.removesuffix(TABLE_INT8)
                found[table] = values * self._values[table + TABLE_STEP]
        matrices: dict[str, list[Float32]] = {}
        for node in self._nodes:
            if node.op_type in PRODUCTS and node.input[1] in self._values and (name := self._name(node)):
                matrices.setdefault(name, []).append(self._matrix(node))
        found |= {name: same[0] for name, same in matrices.items() if len(same) == 1}
        named = {_name_in_torch(name): values for name, values in found.items()}
        return {name: numpy.ascontiguousarray(values) for name, values in named.items() if name is not None}

    def _matrix(self, node: NodeProto) -> Float32:
        """The matrix of a product as torch has it, shape (out, in), without steps and factors."""
        name = node.input[1]
        values = self._values[name]
        if node.op_type == "Gemm" and any(given.name == "transB" and given.i for given in node.attribute):
            return values
        if node.op_type == "MatMulInteger":
            name = name.removesuffix("_quantized")
            shifted = values.astype(numpy.float32) - self._values[node.input[3]]
            values = shifted * self._values[f"{name}_scale"]
        if smoothed := SMOOTHED.fullmatch(name):
            values = values * self._values[smoothed["activation"] + FACTOR][:, None]
        return values.T

    def _name(self, node: NodeProto) -> str | None:
        """The torch name of the matrix in a product: its own if it kept it, else that of the bias added next."""
        name = node.input[1].removesuffix("_quantized")
        if _name_in_torch(name) is not None:
            return name
        while node.op_type != "Add":
            readers = self._readers.get(node.output[0], [])
            # On the way to the bias there is only what brings an int8 product back to size.
            if len(readers) != 1 or readers[0].op_type not in ("Cast", "Mul", "Add"):
                return None
            node = readers[0]
        bias = next((name for name in node.input if name.endswith(".bias")), None)
        return None if bias is None else bias.removesuffix("bias") + "weight"


def _name_in_torch(name: str) -> str | None:
    """What the student's model calls the weight ``name`` of its graph; None for what is not one of its weights."""
    if name.startswith(MODULES):
        return name.removeprefix(MODULES)
    if name.startswith(TABLE):
        return "0.embedding." + name.removeprefix(TABLE)
    if name.startswith(TABLE_REST):
        number, _, rest = name.removeprefix(TABLE_REST).partition(".")
        return f"{int(number) + 1}.{rest}"
    return None
