"""A token table as plain numbers, so that a page needs no runtime for graphs."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.extras import explain_missing_extras
from leafkit.files.json_file import explain_invalid
from leafkit.onnx.names import TABLE_INT8, TABLE_STEP, TABLE_WEIGHT
from leafkit.types import Float32

_STEPS = 127
_TINY = numpy.float32(1e-6)


@dataclass(frozen=True, eq=False)
class TokenTable:
    """The token vectors as int8 ``codes`` (tokens, width) with ``steps`` (tokens,), and the linear head.

    A text's vector is ``weight @ mean + bias``; ``mean`` (width,) is the mean of ``steps * codes`` over its tokens.
    """

    codes: NDArray[numpy.int8]
    steps: Float32
    weight: Float32
    bias: Float32

    @property
    def facts(self) -> dict[str, Any]:
        """The sizes that the page reads the file with."""
        return {"rows": len(self.codes), "width": self.codes.shape[1], "dim": len(self.bias)}

    def save(self, path: Path) -> None:
        """Write steps, weight and bias as float32, then the codes, to ``path``."""
        with open(path, "wb") as file:
            for part in (self.steps, self.weight, self.bias):
                file.write(numpy.ascontiguousarray(part, dtype="<f4").tobytes())
            file.write(self.codes.tobytes())

    @classmethod
    def read(cls, folder: Path, graph: Path) -> TokenTable | None:
        """Read the exported student in ``folder`` from its ONNX file ``graph``; None if it is not a token table.

        A float32 table is rounded to int8 as the exporter does it: each token has its own step size.

        Raises `DamageError` for tensors whose shapes do not fit together, and the errors of `read_head`.
        """
        # Looking for the name costs milliseconds and needs no package.
        with open(graph, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(TABLE_WEIGHT.encode()) < 0:
                return None
        with explain_missing_extras():
            import onnx
            from onnx import numpy_helper

            from leafkit.onnx.head import read_head
        found = {tensor.name: tensor for tensor in onnx.load(str(graph)).graph.initializer}
        names = (TABLE_WEIGHT + TABLE_INT8, TABLE_WEIGHT + TABLE_STEP)
        with explain_invalid(graph, expected="the graph of a token table", advice="Export the student again."):
            if found.keys() >= set(names):
                codes, steps = (numpy_helper.to_array(found[name]) for name in names)
            elif TABLE_WEIGHT in found:
                rows = numpy_helper.to_array(found[TABLE_WEIGHT])
                steps = numpy.maximum(numpy.abs(rows).max(axis=1, keepdims=True), _TINY) / _STEPS
                codes = numpy.rint(rows / steps).astype(numpy.int8)
            else:
                return None
            table = cls(codes, steps.ravel(), *read_head(folder))
            table._require_shapes()
            return table

    def _require_shapes(self) -> None:
        """Raise ValueError unless the tensors fit together; a graph from a stranger may hold any others."""
        shapes = [part.shape for part in (self.codes, self.steps, self.weight, self.bias)]
        if self.codes.dtype != numpy.int8 or self.codes.ndim != 2 or self.bias.ndim != 1:
            raise ValueError(f"it holds {self.codes.dtype} tokens, and tensors of the shapes {shapes}")
        if shapes[1] != (len(self.codes),) or shapes[2] != (len(self.bias), self.codes.shape[1]):
            raise ValueError(f"its tensors have the shapes {shapes}, which do not fit together")
