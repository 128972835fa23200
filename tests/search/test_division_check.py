"""Which divisions a received graph may have: those that cannot divide the smallest whole number by -1."""

import numpy
import pytest
from onnx import TensorProto, helper, numpy_helper

from leafkit.search.graph_check import check_graph

SEVEN = helper.make_node("Constant", [], ["seven"], value=numpy_helper.from_array(numpy.array([7])))
FLOAT = helper.make_node("Cast", ["ids"], ["float"], to=TensorProto.FLOAT)


def model(*nodes, **constants):
    tensors = [numpy_helper.from_array(numpy.array(value), name) for name, value in constants.items()]
    return helper.make_model(helper.make_graph(nodes, "graph", [], [], initializer=tensors)).SerializeToString()


def divide(left, right, operator="Div"):
    return helper.make_node(operator, [left, right], ["out"])


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([FLOAT, divide("float", "float")], {}),
        ([divide("ids", "two")], {"two": [2]}),
        ([divide("scale", "other")], {"scale": numpy.float32(8)}),
        ([FLOAT, helper.make_node("Reshape", ["float", "shape"], ["x"]), divide("x", "y", "Mod")], {"shape": [-1]}),
        ([SEVEN, divide("ids", "seven")], {}),
    ],
)
def test_floats_and_positive_constants_may_divide(nodes, constants):
    check_graph(model(*nodes, **constants))


CAST_TWICE = helper.make_node("Cast", ["ids"], ["x"], to=TensorProto.FLOAT)
CAST_TWICE.attribute.append(helper.make_attribute("to", TensorProto.INT64))


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([divide("ids", "minus")], {"minus": [-1]}),
        ([divide("ids", "some")], {"some": [3, -1]}),
        ([divide("ids", "ids", "Mod")], {}),
        ([divide("two", "ids")], {"two": [2]}),
        ([FLOAT, helper.make_node("Shape", ["float"], ["x"]), divide("x", "x")], {}),
        ([FLOAT, helper.make_node("Cast", ["float"], ["x"], to=TensorProto.INT64), divide("x", "x")], {}),
        ([CAST_TWICE, divide("x", "x")], {}),
        ([FLOAT, helper.make_node("TopK", ["float", "k"], ["v", "x"]), divide("x", "x")], {"k": [1]}),
    ],
)
def test_other_whole_numbers_may_not_divide(nodes, constants):
    with pytest.raises(ValueError, match="for whole numbers that may be -1"):
        check_graph(model(*nodes, **constants))
