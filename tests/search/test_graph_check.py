"""The graphs that leafkit writes pass; what is cut, changed or more than a graph does not, or is a plain graph too."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from leafkit.search.graph_check import MOST_NODES, OPERATORS, check_graph

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "bge-small-leaf" / "onnx" / "model_quantized.onnx"


def model(nodes, **more):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [value], [value], **more)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize("name", ["model.onnx", "model_quantized.onnx"])
def test_exported_students_pass(exported: Path, name: str) -> None:
    check_graph((exported / "onnx" / name).read_bytes())


def test_the_shipped_student_passes() -> None:
    check_graph(SHIPPED.read_bytes())


def test_no_known_operator_runs_another_graph() -> None:
    assert not OPERATORS & {"If", "Loop", "Scan", "SequenceMap", "RandomNormal", "ImageDecoder", "StringConcat"}


def test_functions_branches_and_sparse_weights_are_refused() -> None:
    function = helper.make_function("own", "f", ["a"], ["b"], [], [helper.make_opsetid("", 20)])
    with_function = model([helper.make_node("Relu", ["x"], ["y"])])
    with_function.functions.append(function)
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("i", TensorProto.INT64, [1], [0]),
        [4],
    )
    branch = helper.make_node("Relu", ["x"], ["y"], body=helper.make_graph([], "inner", [], []))
    for made, problem in (
        (with_function, "functions or training steps"),
        (model([helper.make_node("Relu", ["x"], ["y"])], sparse_initializer=[sparse]), "sparse weights"),
        (model([branch]), "a loop or a branch inside"),
        (model([helper.make_node("Relu", ["x"], ["y"])] * (MOST_NODES + 1)), f"at most {MOST_NODES}"),
    ):
        with pytest.raises(ValueError, match=problem):
            check_graph(made.SerializeToString())


def test_a_graph_in_two_parts_is_checked_whole() -> None:
    """protobuf merges a message that occurs twice."""
    good, bad = (model([helper.make_node(name, ["x"], ["y"])]).SerializeToString() for name in ("Relu", "Loop"))
    check_graph(good + good)
    with pytest.raises(ValueError, match="'Loop'"):
        check_graph(good + bad)


def test_damaged_bytes_are_refused_or_pass_but_raise_nothing_else() -> None:
    whole = model([helper.make_node("Relu", ["x"], ["y"])] * 5).SerializeToString()
    draw = random.Random(0)
    for _ in range(3000):
        changed = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            changed[draw.randrange(len(whole))] = draw.randrange(256)
        try:
            check_graph(bytes(changed[: draw.randrange(1, len(whole) + 1)]))
        except ValueError:
            continue
