"""A student from a stranger is data: its graph and its tokenizer get an error, not the machine."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy
import onnx
import pytest
from onnx import TensorProto, helper

from leafkit.errors import DamageError, LeafkitError
from leafkit.files.digest import sha256_file
from leafkit.search import onnx_session
from leafkit.search.query_encoder import FILES, RECORD, QueryEncoder, digest

INT8 = FILES["int8"]


def reseal(student: Path) -> Path:
    """Write the hashes that the files have now into the record."""
    record = json.loads((student / RECORD).read_bytes())
    record["files"] = {name: sha256_file(student / name) for name in record["files"] if (student / name).is_file()}
    (student / RECORD).write_text(json.dumps({**record, "sha256": digest(record)}))
    return student


def with_graph(
    student: Path, nodes: list[onnx.NodeProto], *, inputs: tuple[str, ...] = ("input_ids",), **graph
) -> Path:
    """Replace the int8 graph by ``nodes``, which lead to the output x."""
    shape = ["batch", "length"]
    made = helper.make_graph(
        [*nodes, helper.make_node("Cast", ["x"], ["sentence_embedding"], to=TensorProto.FLOAT)],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in inputs],
        [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, None)],
        **graph,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (student / INT8).write_bytes(model.SerializeToString())
    return reseal(student)


def constant(name: str, values: list[int]) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def opened(student: Path) -> QueryEncoder:
    return QueryEncoder.open(student, precision="int8")


def endless_loop() -> list[onnx.NodeProto]:
    body = helper.make_graph(
        [helper.make_node("Identity", [name], [name + "_out"]) for name in ("condition", "value")],
        "body",
        [
            helper.make_tensor_value_info("count", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("condition_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_out", TensorProto.FLOAT, None),
        ],
    )
    return [
        helper.make_node("Cast", ["input_ids"], ["start"], to=TensorProto.FLOAT),
        helper.make_node("Loop", ["", "", "start"], ["x"], body=body),
    ]


def test_a_graph_with_a_loop_is_not_run(copied: Path) -> None:
    with pytest.raises(DamageError, match="has a loop or a branch inside"):
        opened(with_graph(copied, endless_loop()))


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        (helper.make_node("Loop", ["input_ids"], ["x"]), "the operator 'Loop'"),
        (helper.make_node("RandomNormalLike", ["input_ids"], ["x"], dtype=1), "the operator 'RandomNormalLike'"),
        (helper.make_node("Gelu", ["input_ids"], ["x"], domain="com.microsoft"), "of the domain b'com.microsoft'"),
    ],
)
def test_an_unknown_operator_is_named(copied: Path, node: onnx.NodeProto, problem: str) -> None:
    with pytest.raises(DamageError, match=problem):
        opened(with_graph(copied, [node]))


def test_weights_outside_the_graph_are_not_read(copied: Path) -> None:
    weights = helper.make_tensor("weights", TensorProto.INT64, [1], bytes(8), raw=True)
    onnx.external_data_helper.set_external_data(weights, location="../secret")
    weights.data_location = TensorProto.EXTERNAL
    (copied.parent / "secret").write_bytes(bytes(8))
    nodes = [helper.make_node("Cast", ["weights"], ["x"], to=TensorProto.FLOAT)]
    with pytest.raises(DamageError, match="has weights in another file"):
        opened(with_graph(copied, nodes, initializer=[weights]))


@pytest.mark.parametrize("where", ["when run", "when loaded"])
def test_a_graph_that_computes_for_ever_is_stopped(copied: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "SECONDS", 0.1)
    sines = [helper.make_node("Sin", [f"x{i}" if i else "large"], [f"x{i + 1}"]) for i in range(9000)]
    if where == "when run":
        large = [
            helper.make_node("Expand", ["input_ids", "size"], ["numbers"]),
            helper.make_node("Cast", ["numbers"], ["large"], to=TensorProto.FLOAT),
        ]
        graph = with_graph(
            copied, [*large, *sines, helper.make_node("Identity", ["x9000"], ["x"])],
            initializer=[constant("size", [1000, 1000, 1])],
        )  # fmt: skip
    else:
        # The matrices are packed for each product.
        matrix = helper.make_tensor("large", TensorProto.FLOAT, [1000, 1000], bytes(4_000_000), raw=True)
        products = [helper.make_node("MatMul", ["large", "large"], [f"p{i}"]) for i in range(2000)]
        total = helper.make_node("Sum", [f"p{i}" for i in range(2000)], ["x"])
        graph = with_graph(copied, [*products, total], initializer=[matrix])
    started = time.monotonic()
    with pytest.raises(DamageError, match="it needs more than 0 s"):
        opened(graph)
    assert time.monotonic() - started < 20


ENDED = """
import sys
from leafkit.command import exit_on_error
from leafkit.search import onnx_session, query_encoder

onnx_session.SECONDS = 2
with exit_on_error():
    query_encoder.QueryEncoder.open(sys.argv[1], precision="int8")
"""


def test_a_single_node_that_computes_for_ever_is_left_behind(copied: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["large"]),
        helper.make_node("MatMul", ["large", "large"], ["product"]),
        helper.make_node("Shape", ["product"], ["x"]),
    ]
    graph = with_graph(copied, nodes, initializer=[constant("size", [15_000, 15_000])])  # 60 s and more
    started = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", ENDED, graph], capture_output=True, text=True, timeout=50, check=False
    )
    assert time.monotonic() - started < 25
    assert "it needs more than 2 s" in process.stderr
    assert process.returncode == 1


def test_a_graph_cannot_take_all_memory(copied: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Mul", ["shape", "factor"], ["larger"]),
        helper.make_node("ConstantOfShape", ["larger"], ["x"]),
    ]
    with pytest.raises(
        DamageError, match="more memory than the 4 GB that all encoders of this process may use together"
    ):
        opened(with_graph(copied, nodes, initializer=[constant("factor", [100_000, 100_000])]))


def test_constants_are_not_computed_when_the_graph_is_loaded(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stops onnxruntime while it does that."""
    monkeypatch.setattr(onnx_session, "SECONDS", 0.5)
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["x0"]),
        *(helper.make_node("MatMul", [f"x{i}", "x0"], [f"x{i + 1}"]) for i in range(1000)),
        helper.make_node("Identity", ["input_ids"], ["x"]),
    ]
    started = time.monotonic()
    with pytest.raises(DamageError, match="cannot encode this text: it needs more than 0 s"):
        opened(with_graph(copied, nodes, initializer=[constant("size", [1500, 1500])]))
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("nodes", "inputs", "problem"),
    [
        (
            [helper.make_node("Identity", ["input_ids"], ["x"])],
            ("input_ids",),
            r"returns float32 of shape \(1, \d+\); expected floats of shape \(1, 32\)",
        ),
        (
            [helper.make_node("Cast", ["pixels"], ["x"], to=TensorProto.FLOAT)],
            ("input_ids", "pixels"),
            "maps input_ids, pixels to sentence_embedding; expected some of attention_mask",
        ),
        ([helper.make_node("Gather", ["table", "input_ids"], ["x"])], ("input_ids",), "cannot encode this text"),
        ([helper.make_node("Reshape", ["input_ids", "table"], ["x"])], ("input_ids",), "cannot encode this text"),
    ],
)
def test_a_graph_that_is_no_encoder_is_damage(copied, nodes, inputs, problem: str) -> None:
    tables = [constant("table", [7, 7])] if any("table" in node.input for node in nodes) else []
    with pytest.raises(DamageError, match=problem):
        opened(with_graph(copied, nodes, inputs=inputs, initializer=tables))


def test_a_golden_text_cannot_be_as_long_as_it_likes(copied: Path) -> None:
    record = json.loads((copied / RECORD).read_bytes())
    record["golden"][0]["text"] = "a" * 10_000
    (copied / RECORD).write_text(json.dumps(record))
    with pytest.raises(DamageError, match="a text of 10000 characters"):
        opened(copied)


def test_a_golden_vector_cannot_hold_a_number_that_no_float_can(copied: Path) -> None:
    record = json.loads((copied / RECORD).read_bytes())
    for precision in ("int8", "float32"):
        record["golden"][0].setdefault(precision, [0.0])[0] = 10**400
    (copied / RECORD).write_text(json.dumps(record))
    with pytest.raises(DamageError, match="invalid golden text"):
        opened(copied)


def replace(pattern: dict[str, str], content: str) -> dict[str, object]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def split(expression: str) -> dict[str, object]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def sequence(name: str, *components: object) -> dict[str, object]:
    return {"type": "Sequence", name: list(components)}


def table(content: bytes) -> dict[str, object]:
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()}


GROWS = replace({"String": "a"}, "a" * 100)
BAD_PARTS = {
    "a text multiplied": ("normalizer", sequence("normalizers", *[GROWS] * 6), "times longer"),
    "strings between letters": ("normalizer", sequence("normalizers", *[replace({"Regex": "x*"}, "ab")] * 9), "times"),
    "one long replacement": ("normalizer", replace({"String": "e"}, "e" * 10**6), "times longer"),
    "a long prefix": ("normalizer", {"type": "Prepend", "prepend": "a" * 10**6}, "a long string before every text"),
    "garbage": ("normalizer", table(b"garb" * 9), "size is wrong"),
    "no base64": ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "!"}, "tokenizer"),
    "a trie that leads outside": ("normalizer", table(b"\x04\0\0\0\0\x0f\xff\x7f"), "leads outside"),
    "an unknown normaliser": ("normalizer", {"type": "Python"}, "its normalizer is a 'Python'"),
    "an endless expression": ("pre_tokenizer", split("(a+)+$"), "may need too much time"),
    "pieces of no length": ("pre_tokenizer", {"type": "FixedLength", "length": 0}, "pieces of no length"),
    "an unknown splitter": ("pre_tokenizer", sequence("pretokenizers", {"type": "Custom"}), "is a 'Custom'"),
    "many components": ("pre_tokenizer", sequence("pretokenizers", *[{"type": "Whitespace"}] * 99), "99 components"),
    "deep": ("pre_tokenizer", json.loads('{"type":"Sequence","pretokenizers":[' * 60 + "]}" * 60), "levels deep"),
    "a long template": (
        "post_processor",
        {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 999, "pair": [],
         "special_tokens": {}},
        "more than 64 pieces",
    ),
    "an unknown template token": (
        "post_processor",
        {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "none", "type_id": 0}}], "pair": [],
         "special_tokens": {}},
        "tokenizer",
    ),
    "an unknown model": ("model", {"type": "Neural"}, "its model is none of"),
    "no model": ("model", None, "its model is none of"),
    "no vocabulary": ("model", {"type": "Unigram", "vocab": []}, "tokenizer"),
    "a merge of nothing": (
        "model", {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]}, "tokenizer"
    ),
    "no unknown token": ("model", {"type": "WordPiece", "unk_token": "x", "vocab": {"a": 0}}, "tokenizer"),
    "a list": ("normalizer", [1], "tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize(("part", "value", "problem"), BAD_PARTS.values(), ids=BAD_PARTS)
def test_a_tokenizer_that_could_hurt_is_damage(copied: Path, part: str, value: object, problem: str) -> None:
    content = json.loads((copied / "tokenizer.json").read_bytes())
    (copied / "tokenizer.json").write_text(json.dumps({**content, part: value}))
    with pytest.raises(DamageError, match=problem):
        opened(reseal(copied))


@pytest.mark.parametrize("name", ["tokenizer.json", "leafkit.json", RECORD])
def test_json_that_is_nested_for_ever_is_damage(copied: Path, name: str) -> None:
    (copied / name).write_bytes(b"[" * 100_000)
    if name != RECORD:
        reseal(copied)
    with pytest.raises(DamageError, match="nested too deeply"):
        opened(copied)


@pytest.mark.parametrize("name", ["tokenizer.json", "leafkit.json", RECORD, INT8])
def test_a_pipe_does_not_hang_a_reader(copied: Path, name: str) -> None:
    (copied / name).unlink()
    os.mkfifo(copied / name)
    with pytest.raises(LeafkitError, match=r"a named pipe|lacks the int8 file"):
        opened(copied)


def test_a_student_may_consist_of_links_as_in_the_cache_of_a_hub(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    for number, file in enumerate(path for path in sorted(exported.rglob("*")) if path.is_file()):
        link = tmp_path / "snapshot" / file.relative_to(exported)
        link.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "blobs" / str(number)).write_bytes(file.read_bytes())
        link.symlink_to(tmp_path / "blobs" / str(number))
    expected = opened(exported).encode(["list files"])
    numpy.testing.assert_array_equal(opened(tmp_path / "snapshot").encode(["list files"]), expected)
