"""A token table read from a graph that is written by hand, and with the exporter's int8."""

from __future__ import annotations

import numpy
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from leafkit.errors import DamageError
from leafkit.onnx.int8 import narrow_tables
from leafkit.onnx.names import TABLE_WEIGHT
from leafkit.site.token_table import TokenTable

ROWS = 4096  # the fewest that the exporter stores as int8


@pytest.fixture
def head(monkeypatch):
    """The head that is read from the student."""
    weight, bias = numpy.eye(3, 4, dtype=numpy.float32), numpy.arange(3, dtype=numpy.float32)
    monkeypatch.setattr("leafkit.onnx.head.read_head", lambda folder: (weight, bias))
    return weight, bias


def graph(name, rows):
    gather = helper.make_node("Gather", [name, "input_ids"], ["vectors"])
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [None])
    out = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [None, rows.shape[1]])
    return helper.make_model(helper.make_graph([gather], "g", [ids], [out], [numpy_helper.from_array(rows, name)]))


@pytest.mark.parametrize("narrow", [False, True])
def test_a_float_table_is_rounded_as_the_exporter_rounds_it(tmp_path, head, narrow):
    rows = numpy.random.default_rng(0).standard_normal((ROWS, 4)).astype(numpy.float32)
    rows[7] = 0
    model = graph(TABLE_WEIGHT, rows)
    if narrow:
        narrow_tables(model)
    save(model, tmp_path / "model.onnx")
    table = TokenTable.read(tmp_path, tmp_path / "model.onnx")
    assert table is not None
    assert numpy.abs(table.codes * table.steps[:, None] - rows).max() <= numpy.abs(rows).max() / 254 + 1e-6
    assert table.codes.dtype == numpy.int8
    assert numpy.abs(table.codes).max(axis=1).tolist() == [127] * 7 + [0] + [127] * (ROWS - 8)
    assert table.facts == {"rows": ROWS, "width": 4, "dim": 3}
    table.save(tmp_path / "table.bin")
    assert (tmp_path / "table.bin").stat().st_size == 4 * (ROWS + 3 * 4 + 3) + ROWS * 4


def test_another_student_has_no_table(tmp_path, head):
    save(graph("modules_in_order.0.weight", numpy.ones((5, 4), numpy.float32)), tmp_path / "model.onnx")
    assert TokenTable.read(tmp_path, tmp_path / "model.onnx") is None


@pytest.mark.parametrize("shape", [(5,), (5, 2, 2), (5, 3)])
def test_a_table_that_does_not_fit_its_head_is_damage(tmp_path, head, shape):
    """The head has the width 4. A stranger's graph may hold a tensor of any shape under the name of the table."""
    rows = numpy.ones(shape, numpy.float32)
    model = graph(TABLE_WEIGHT, rows.reshape(5, -1))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(rows, TABLE_WEIGHT))
    save(model, tmp_path / "model.onnx")
    with pytest.raises(DamageError, match=r"is not the graph of a token table .*Export the student again"):
        TokenTable.read(tmp_path, tmp_path / "model.onnx")
