"""Find divisions of whole numbers in an ONNX graph: onnxruntime ends the process when one of them overflows.

The smallest number divided by -1 has no result, and the processor answers with SIGFPE. So a graph may divide floats, or
divide whole numbers by positive constants, as exporters do for shapes and buckets of positions.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy

from leafkit.search.protobuf import messages

_DIVIDING = ("Div", "Mod")
# Operators whose first output is of floats if any input is.
_KEEPING = frozenset(
    "Abs Add Ceil Celu Clip Concat Cos Div Dropout Einsum Elu Erf Exp Expand Flatten Floor Gather GatherElements "
    "GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity InstanceNormalization "
    "LayerNormalization LeakyRelu Log LogSoftmax LpNormalization MatMul Max Mean Min Mish Mod Mul Neg Pad Pow "
    "RMSNormalization Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin "
    "ReduceProd ReduceSum ReduceSumSquare Relu Reshape RotaryEmbedding Round Selu Sigmoid Sign Sin Slice Softmax "
    "Softplus Softsign Split Sqrt Squeeze Sub Sum Swish Tanh Tile Transpose Trilu Unsqueeze Where".split()
)
_FLOATS = (1, 10, 11, 16)  # float, float16, double, bfloat16
_INTEGERS = {6: "<i4", 7: "<i8"}

# The numbers of fields in onnx.proto.
_NODE_INPUT, _NODE_OUTPUT, _NODE_ATTRIBUTE = 1, 2, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INTEGER, _ATTRIBUTE_TENSOR = 1, 3, 5
_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 2, 8, 9


class Divisions:
    """The values of a graph that are known to be floats or positive constants, node by node."""

    def __init__(self, initializers: Iterable[memoryview]) -> None:
        """Start with the constants of the graph, messages of the type TensorProto."""
        self._floats: set[bytes] = set()
        self._positive: set[bytes] = set()
        for tensor in initializers:
            self._add(tensor, None)

    def check(self, node: memoryview, operator: str) -> None:
        """Raise ValueError if ``node`` may divide whole numbers by -1, and note what its output is."""
        fields = [(field, bytes(value)) for field, value in messages(node) if field in (_NODE_INPUT, _NODE_OUTPUT)]
        inputs = [name for field, name in fields if field == _NODE_INPUT]
        outputs = [name for field, name in fields if field == _NODE_OUTPUT]
        of_floats = not self._floats.isdisjoint(inputs)
        if operator in _DIVIDING and not of_floats and not self._positive.issuperset(inputs[1:2]):
            raise ValueError(f"the graph has the operator {operator!r} for whole numbers that may be -1")
        if operator == "Split" and of_floats:
            self._floats.update(outputs)
        elif of_floats and operator in _KEEPING:
            self._floats.update(outputs[:1])
        elif operator in ("Cast", "Constant"):
            self._note(node, operator, outputs[:1])
        elif operator == "DequantizeLinear":
            self._floats.update(outputs)

    def _note(self, node: memoryview, operator: str, outputs: list[bytes]) -> None:
        """Note what a conversion or a constant puts out. Of several attributes of one name the last one counts."""
        attributes = [dict(messages(value)) for field, value in messages(node) if field == _NODE_ATTRIBUTE]
        if operator == "Constant":
            if len(attributes) == 1 and _ATTRIBUTE_TENSOR in attributes[0]:
                self._add(attributes[0][_ATTRIBUTE_TENSOR], outputs[0] if outputs else b"")
            return
        named = {bytes(values.get(_ATTRIBUTE_NAME, b"")): values for values in attributes}
        if _number(named.get(b"to", {}).get(_ATTRIBUTE_INTEGER)) in _FLOATS:
            self._floats.update(outputs)

    def _add(self, tensor: memoryview, name: bytes | None) -> None:
        """Note what a constant is; its own name counts if ``name`` is None."""
        values = dict(messages(tensor))
        name = bytes(values.get(_TENSOR_NAME, b"")) if name is None else name
        kind = _number(values.get(_TENSOR_TYPE))
        raw = values.get(_TENSOR_RAW, memoryview(b""))
        if kind in _FLOATS:
            self._floats.add(name)
        elif kind in _INTEGERS and len(raw) and len(raw) % numpy.dtype(_INTEGERS[kind]).itemsize == 0:
            numbers = numpy.frombuffer(raw, dtype=_INTEGERS[kind])
            if numbers.min() > 0:
                self._positive.add(name)


def _number(content: memoryview | None) -> int:
    """Return the small number in ``content``, one byte; 0 for none or a larger one."""
    return content[0] if content is not None and len(content) == 1 and content[0] < 128 else 0
