"""Read the head of an exported student from its graph, and replace it there: W h + b becomes M (W h + b).

This needs no torch and changes nothing but the head, so it also works on students without torch weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy
import onnx
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

from leafkit.errors import InputError
from leafkit.files.atomic import write_json
from leafkit.files.digest import sha256_file
from leafkit.files.json_file import read_json_object
from leafkit.search.query_encoder import FILES, MARKER, RECORD, ExportRecord, digest
from leafkit.space import Space
from leafkit.types import Float32
from leafkit.vectors.mapping import LinearMap

HEAD = "head"  # the name of the head's node in a float32 graph


def read_head(folder: Path) -> tuple[Float32, Float32]:
    """Return weight (dim, width) and bias (dim,) of the exported student in ``folder``.

    Raises the same errors as `map_head`.
    """
    record = ExportRecord.read(folder)
    file = record.check(folder, FILES[record.precisions[0]])
    return _Head(onnx.load(str(file)), folder).values()


def map_head(folder: Path, mapping: LinearMap, space: Space) -> None:
    """Apply ``mapping`` to the head of the export in ``folder``, in all of its files, in place.

    Afterwards the export gives vectors in the coordinates of ``space``, and its golden vectors and its recorded space
    are updated. Raises `InputError` for a student whose graph has its head quantised, as leafkit 0.1 wrote it.
    """
    record = ExportRecord.read(folder)
    raw = read_json_object(folder / RECORD)
    present = [name for name in record.precisions if (folder / FILES[name]).is_file()]
    for name in present:
        file = record.check(folder, FILES[name])
        model = onnx.load(str(file))
        head = _Head(model, folder)
        weight, bias = head.values()
        head.set(mapping.query_map @ weight, mapping.query_map @ bias)
        onnx.save(model, str(file))
        raw["files"][FILES[name]] = sha256_file(file)
        for golden in raw["golden"]:
            vector = mapping.query_map @ numpy.array(golden[name], dtype=numpy.float32)
            if mapping.base.normalised:
                vector /= numpy.linalg.norm(vector)
            golden[name] = [round(float(x), 6) for x in vector]
    raw["space"] = space.id
    raw["sha256"] = digest(raw)
    write_json(folder / RECORD, raw)
    facts = read_json_object(folder / MARKER)
    write_json(folder / MARKER, {**facts, "space": space.to_json()})


class _Head:
    """The head in a student's graph: one Gemm, or the product and the sum that the int8 quantiser splits it into.

    A head without bias has no tensor for a bias in its graph, and no mapping adds one, because M 0 is 0.
    """

    def __init__(self, model: ModelProto, folder: Path) -> None:
        self._graph: GraphProto = model.graph
        nodes = {node.name: node for node in model.graph.node}
        self._is_gemm = HEAD in nodes
        parts = [nodes[name] for name in (HEAD, f"{HEAD}_MatMul", f"{HEAD}_Add") if name in nodes]
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._tensors: list[TensorProto] = [tensors[name] for part in parts for name in part.input if name in tensors]
        # Every input of these nodes but the activation must be a constant tensor.
        if not parts or len(self._tensors) != sum(len(part.input) - 1 for part in parts):
            raise InputError(
                f"the ONNX graph in {folder} has no head that leafkit recognises. Run "
                f"`leafkit export {folder} --overwrite` and try again."
            )

    def values(self) -> tuple[Float32, Float32]:
        """Return weight (dim, width) and bias (dim,), zeros if there is none."""
        weight, *bias = map(numpy_helper.to_array, self._tensors)
        weight = weight if self._is_gemm else weight.T
        return weight, bias[0] if bias else numpy.zeros(len(weight), numpy.float32)

    def set(self, weight: Float32, bias: Float32) -> None:
        """Replace weight and bias; the new head may have another dim."""
        before = len(self.values()[1])
        weight = weight if self._is_gemm else weight.T
        for tensor, values in zip(self._tensors, (weight, bias), strict=False):
            exact = numpy.ascontiguousarray(values, dtype=numpy.float32)
            tensor.CopyFrom(numpy_helper.from_array(exact, tensor.name))
        # The exporter noted shapes inside the graph, which are now wrong. Runtimes infer them.
        del self._graph.value_info[:]
        for output in self._graph.output:
            last = output.type.tensor_type.shape.dim[-1]
            if last.dim_value == before:
                last.dim_value = len(bias)
