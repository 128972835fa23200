"""Check an ONNX graph before onnxruntime reads it: no loops, no functions, no data in other files, known operators.

The search host has no package onnx, so the protobuf messages of ``onnx.proto`` are walked here; weights are skipped.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from leafkit.search.division_check import Divisions
from leafkit.search.protobuf import messages

# Every operator of a text encoder. None of them runs other graphs, reads files or draws random numbers.
OPERATORS = frozenset(
    "Abs Add And ArgMax ArgMin Attention AveragePool BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr "
    "BitwiseXor Cast CastLike Ceil Celu Clip Compress Concat Constant ConstantOfShape Conv ConvInteger Cos Cosh "
    "CumSum DFT DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten "
    "Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual "
    "GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LSTM "
    "LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization MatMul MatMulInteger Max MaxPool "
    "Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow QLinearConv "
    "QLinearMatMul QuantizeLinear RMSNormalization RNN Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape RotaryEmbedding "
    "Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign Split Sqrt "
    "Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Where Xor".split()
)
# 48 layers have near 4,000 nodes. onnxruntime needs 5 s for 10,000, and its time grows with the square.
MOST_NODES = 10_000
_DOMAINS = (b"", b"ai.onnx")

# The numbers of fields in onnx.proto.
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS = (5, 10)
_ATTRIBUTE_REFUSED = (6, 11, 22, 23)  # graphs, sparse tensors
_TENSOR_EXTERNAL = (13, 14)


def check_graph(model: Any) -> None:
    """Raise ValueError unless the ONNX ``model`` (a buffer) is one plain graph of known operators.

    Such a graph ends after its last node, and reads nothing but the file it is in.
    """
    nodes = 0
    graphs = []
    for field, message in messages(memoryview(model)):
        if field in (_MODEL_FUNCTIONS, _MODEL_TRAINING):
            raise ValueError("the ONNX file defines functions or training steps")
        if field == _MODEL_GRAPH:
            graphs.append(message)
    divisions = Divisions(
        tensor for graph in graphs for field, tensor in messages(graph) if field == _GRAPH_INITIALIZER
    )
    for graph in graphs:
        nodes += _check_nodes(graph, divisions)
    if nodes > MOST_NODES:
        raise ValueError(f"the graph has {nodes} nodes; expected at most {MOST_NODES}")


def count_operators(model: Any, operators: Collection[str]) -> int:
    """Return how many nodes of the ONNX ``model`` (a buffer) have one of ``operators``."""
    graphs = [message for field, message in messages(memoryview(model)) if field == _MODEL_GRAPH]
    nodes = [node for graph in graphs for field, node in messages(graph) if field == _GRAPH_NODE]
    wanted = {name.encode() for name in operators}
    return sum(
        field == _NODE_OPERATOR and bytes(message) in wanted for node in nodes for field, message in messages(node)
    )


def _check_nodes(graph: memoryview, divisions: Divisions) -> int:
    nodes = 0
    for field, message in messages(graph):
        if field == _GRAPH_NODE:
            nodes += 1
            divisions.check(message, _check_node(message))
        elif field == _GRAPH_INITIALIZER:
            _check_tensor(message)
        elif field == _GRAPH_SPARSE:
            raise ValueError("the graph has sparse weights")
    return nodes


def _check_node(node: memoryview) -> str:
    """Check one node and return its operator."""
    operator = ""
    for field, message in messages(node):
        if field == _NODE_OPERATOR:
            operator = bytes(message).decode("utf-8", "replace")
        elif field == _NODE_DOMAIN and bytes(message[:100]) not in _DOMAINS:
            raise ValueError(f"the graph has an operator of the domain {bytes(message[:100])!r}")
        elif field == _NODE_ATTRIBUTE:
            for inner, value in messages(message):
                if inner in _ATTRIBUTE_REFUSED:
                    raise ValueError("the graph has a loop or a branch inside")
                if inner in _ATTRIBUTE_TENSORS:
                    _check_tensor(value)
    if operator not in OPERATORS:
        raise ValueError(f"the graph has the operator {operator[:100]!r}, which no student has")
    return operator


def _check_tensor(tensor: memoryview) -> None:
    for field, message in messages(tensor):
        if field in _TENSOR_EXTERNAL and len(message):
            raise ValueError("the graph has weights in another file")
