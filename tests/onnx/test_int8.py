import json
import shutil
import subprocess
import sys

import numpy
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from leafkit.onnx.graph import quiet_exporter
from leafkit.onnx.int8 import narrow_tables, prepare, write_int8

FEW, MANY, WIDTH = 500, 5000, 64
SPIKES = numpy.random.default_rng(0).choice([1, 1, 1, 100], size=WIDTH)  # of channels
SIZES = 10 ** numpy.random.default_rng(1).uniform(-2, 2, size=(MANY, 1))  # of rows


def cosines(left, right):
    lengths = numpy.linalg.norm(left, axis=-1) * numpy.linalg.norm(right, axis=-1)
    return (left * right).sum(axis=-1) / numpy.maximum(lengths, 1e-30)


def normal(*shape, seed=2):
    return numpy.random.default_rng(seed).standard_normal(shape).astype(numpy.float32)


def network(table, *matrices):
    """Token ids to rows of ``table``, multiplied by each matrix in turn with a relu between."""
    nodes, value = [helper.make_node("Gather", ["table", "ids"], ["rows"])], "rows"
    weights = {"table": table}
    for number, matrix in enumerate(matrices):
        if number:
            nodes.append(helper.make_node("Relu", [value], [f"active {number}"]))
            value = f"active {number}"
        nodes.append(helper.make_node("MatMul", [value, f"matrix {number}"], [f"product {number}"]))
        weights[f"matrix {number}"] = matrix
        value = f"product {number}"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", "length", None])],
        [numpy_helper.from_array(values.astype(numpy.float32), name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model, ids):
    given = model.SerializeToString() if isinstance(model, ModelProto) else str(model)
    return onnxruntime.InferenceSession(given, providers=["CPUExecutionProvider"]).run(None, {"ids": ids})[0]


def copy(model):
    return ModelProto.FromString(model.SerializeToString())


def some_ids(below, seed=3, length=40):
    return numpy.random.default_rng(seed).integers(0, below, size=(1, length))


def feeds(below):
    return [{"ids": some_ids(below, seed)} for seed in range(100, 104)]


def losses(folder, model, ids, seen):
    """1 - cosine to float32, for each row, of ours and of plain dynamic quantisation."""
    onnx.save(model, folder / "float.onnx")
    write_int8(folder / "float.onnx", folder / "ours.onnx", seen)
    with quiet_exporter():
        quantize_dynamic(copy(model), folder / "plain.onnx", weight_type=QuantType.QInt8, per_channel=True)
    wanted = run(model, ids)
    return [1 - cosines(wanted, run(folder / name, ids)) for name in ("ours.onnx", "plain.onnx")]


@pytest.mark.parametrize("seed", range(3))
def test_preparing_for_int8_changes_no_vector(seed):
    model = network(normal(FEW, WIDTH) * SPIKES * SIZES[:FEW], normal(WIDTH, 256), normal(256, WIDTH))
    ids = some_ids(FEW, seed)
    wanted, got = run(model, ids), run(prepare(copy(model), feeds(50)), ids)
    assert numpy.abs(wanted - got).max() < 1e-5 * numpy.abs(wanted).max()
    assert cosines(wanted, got).min() > 0.99999


def test_rows_of_zeros_stay_zeros():
    table = normal(MANY, WIDTH)
    table[7] = 0
    even = prepare(network(table, normal(WIDTH, 256), normal(256, WIDTH)), feeds(MANY))
    narrow_tables(even)
    assert not run(even, numpy.array([[7, 7]])).any()


def test_channels_of_very_different_size_keep_their_information(tmp_path):
    model = network(normal(FEW, WIDTH) * SPIKES, normal(WIDTH, WIDTH) / SPIKES[:, None])
    ours, plain = losses(tmp_path, model, some_ids(FEW), feeds(FEW))
    assert ours.mean() < 0.001 < 0.05 < plain.mean()


def test_a_channel_that_is_zero_on_the_calibration_texts_does_no_harm_later(tmp_path):
    table = normal(FEW, WIDTH)
    table[:250, :8] = 0
    model = network(table, normal(WIDTH, WIDTH))
    ours, _ = losses(tmp_path, model, some_ids(250) + 250, feeds(250))
    assert ours.mean() < 0.01


def test_rows_of_any_size_that_are_narrowed_keep_their_direction(tmp_path):
    model = network(normal(FEW, WIDTH) * SIZES[:FEW], normal(WIDTH, WIDTH // 2))
    ours, plain = losses(tmp_path, model, some_ids(FEW), feeds(FEW))
    assert ours.max() < 0.001 < 0.01 < plain.mean()


def test_tokens_of_any_size_keep_their_direction(tmp_path):
    model = network(normal(MANY, WIDTH) * SIZES, normal(WIDTH, WIDTH // 2))
    ours, plain = losses(tmp_path, model, some_ids(MANY), feeds(MANY))
    assert ours.max() < 0.001 < 0.01 < plain.mean()
    assert (tmp_path / "ours.onnx").stat().st_size < (tmp_path / "float.onnx").stat().st_size / 3


def test_the_error_of_a_table_row_is_at_most_half_its_step():
    table = normal(MANY, WIDTH) * SIZES
    model = network(table)
    model.graph.output[0].name = "rows"
    narrow_tables(model)
    assert {weight.data_type for weight in model.graph.initializer} == {TensorProto.INT8, TensorProto.FLOAT}
    step = numpy.abs(table).max(axis=1, keepdims=True) / 127
    got = run(model, numpy.arange(MANY)[None])[0]
    assert (numpy.abs(got - table) <= step * 0.5001).all()


def test_a_small_table_stays_float32():
    model = network(normal(FEW, WIDTH), normal(WIDTH, WIDTH))
    narrow_tables(model)
    assert {weight.data_type for weight in model.graph.initializer} == {TensorProto.FLOAT}


def test_weights_have_seven_bits_and_operators_are_standard(exported):
    model = onnx.load(exported / "onnx" / "model_quantized.onnx")
    narrow = [w for w in model.graph.initializer if w.data_type == TensorProto.INT8 and len(w.dims) == 2]
    assert len(narrow) >= 2 * 6
    assert max(numpy.abs(numpy_helper.to_array(weight).astype(int)).max() for weight in narrow) <= 64
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}


ELSEWHERE = """
import json, sys, leafkit
from leafkit.vectors.golden_texts import GOLDEN
encoder = leafkit.QueryEncoder.open(sys.argv[1], precision="int8")
print(json.dumps([encoder.encode([text], role)[0].tolist() for text, role in GOLDEN[:8]]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind stands in for a processor without AVX-512 and VNNI")
def test_a_processor_without_vnni_gives_the_same_vectors(exported):
    here, there = (
        numpy.array(json.loads(subprocess.check_output([*tool, sys.executable, "-c", ELSEWHERE, str(exported)])))
        for tool in ([], ["valgrind", "--tool=none", "-q"])
    )
    assert numpy.abs(here - there).max() < 1e-5
