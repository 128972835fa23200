import json
import shutil
import sys
from dataclasses import replace

import numpy
import pytest
from tokenizers import Tokenizer

import leafkit
from leafkit.errors import DamageError, InputError, OptionError
from leafkit.runtimes import check, installed, node
from leafkit.runtimes.runtime import Answer


def by_name(rows):
    return {(row.runtime, row.precision or row.file): row for row in rows}


def test_every_runtime_that_is_here_gives_the_golden_vectors(exported, server):
    rows = leafkit.check_student(exported, urls=[server.url, f"{server.url}/v1"])
    seen = {row.runtime: row for row in rows if row.result != "skipped"}
    assert set(seen) >= {"sentence-transformers", "onnxruntime", server.url, f"{server.url}/v1"}
    for row in seen.values():
        assert row.result == "agrees", row
        assert row.least_cosine >= row.bound >= 0.999
    assert seen["sentence-transformers"].version.startswith("6.")
    assert [row.runtime for row in rows if row.result == "agrees"].count("onnxruntime") == 2


def test_runtimes_that_are_missing_are_skipped_with_the_reason(exported, monkeypatch, tmp_path):
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    monkeypatch.setattr(node.shutil, "which", lambda name: None)
    rows = leafkit.check_student(exported)
    reasons = {row.runtime: row.note for row in rows if row.result == "skipped"}
    assert reasons["sentence-transformers"] == reasons["fastembed"] == "not installed"
    assert reasons["transformers.js"] == "node is not installed"
    monkeypatch.setattr(node.shutil, "which", lambda name: sys.executable)
    rows = leafkit.check_student(exported, node_modules=tmp_path)
    assert rows[-1].note == f"{tmp_path} does not contain @huggingface/transformers"


def test_transformers_js_is_compared_without_the_texts_that_are_truncated(exported, golden, monkeypatch, tmp_path):
    """Its truncation cuts the last special token off: [1996] in the place of [SEP] for bge-small-leaf."""
    rows = golden.whole()
    tokenizer = Tokenizer.from_file(str(exported / "tokenizer.json"))
    tokenizer.no_truncation()
    tokens = [len(tokenizer.encode(text)) for text in golden.prompted()]
    assert rows == [row for row, length in enumerate(tokens) if length <= golden.record.max_length]
    assert 0 < len(rows) < len(tokens)

    def run(self, node, asked):
        assert json.loads(asked)["texts"] == [golden.prompted()[row] for row in rows]
        return json.dumps({"version": "4", "vectors": golden.vectors[self.precision][rows].tolist()}).encode()

    monkeypatch.setattr(node.TransformersJs, "_run", run)
    monkeypatch.setattr(node.shutil, "which", lambda name: sys.executable)
    (tmp_path / node.PACKAGE).mkdir(parents=True)
    row = leafkit.check_student(exported, node_modules=tmp_path)[-1]
    assert (row.runtime, row.result) == ("transformers.js", "agrees")
    assert "long texts left out" in row.note


def test_a_student_without_torch_weights_is_checked_where_it_can_be(copied):
    (copied / "model.safetensors").unlink()
    for file in copied.glob("*_Dense/*.safetensors"):
        file.unlink()
    (copied / "onnx" / "model.onnx").unlink()
    rows = by_name(leafkit.check_student(copied))
    assert "no torch weights" in rows["sentence-transformers", "modules.json"].note
    assert "no onnx/model.onnx" in rows["onnxruntime", "onnx/model.onnx"].note
    assert rows["onnxruntime", "int8"].result == "agrees"


def test_a_runtime_that_loses_the_head_disagrees(exported, monkeypatch):
    """text-embeddings-inference did so for module types that it did not know."""
    encode = installed.SentenceTransformers.encode

    def lost(self, golden):
        answer = encode(self, golden)
        turned = numpy.roll(answer.vectors, 1, axis=1)
        return replace(answer, vectors=turned)

    monkeypatch.setattr(installed.SentenceTransformers, "encode", lost)
    row = leafkit.check_student(exported)[0]
    assert (row.result, row.is_wrong) == ("disagrees", True)
    assert row.least_cosine < row.bound == 0.99999


@pytest.mark.parametrize(
    ("error", "note"),
    [(RuntimeError("broken"), "RuntimeError: broken"), (InputError("no way."), "no way.")],
)
def test_a_runtime_that_fails_is_a_row_and_not_an_error(exported, monkeypatch, error, note):
    def fail(self, golden):
        raise error

    monkeypatch.setattr(installed.Onnxruntime, "encode", fail)
    row = next(row for row in leafkit.check_student(exported) if row.runtime == "onnxruntime")
    assert (row.result, row.note, row.is_wrong) == ("failed", note, True)


@pytest.mark.parametrize("vectors", [numpy.full((2, 32), numpy.nan), numpy.zeros((2, 32)), numpy.ones((2, 31))])
def test_vectors_that_are_none_fail(golden, vectors):
    class Wrong:
        name, file, precision, prompt = "wrong", "", None, ""

        def encode(self, golden):
            return Answer(vectors=vectors, rows=[0, 1], version="")

    assert check._check(Wrong(), golden).result == "failed"


def test_int8_vectors_are_held_to_their_own_golden_vectors(golden):
    rows = range(len(golden.texts))
    same = golden.compare(golden.vectors["int8"], "int8", rows)
    assert (same.precision, same.bound) == ("int8", 0.999)
    assert same.least_cosine > 0.99999
    crossed = replace(golden, vectors={"int8": golden.vectors["int8"]})
    assert crossed.compare(golden.vectors["float32"], "float32", rows).bound == 0.97
    assert golden.compare(golden.vectors["int8"], None, rows).precision == "int8"


def test_damaged_golden_texts_raise(copied):
    file = copied / "onnx" / "export.json"
    content = json.loads(file.read_bytes())
    for golden in (["x"], [{"text": "a", "role": "other"}], [{"text": "a", "role": "query", "float32": [1]}]):
        file.write_text(json.dumps(content | {"golden": golden}))
        with pytest.raises(DamageError, match="invalid golden text"):
            leafkit.check_student(copied)


def test_a_student_that_was_not_exported_raises(copied):
    shutil.rmtree(copied / "onnx")
    with pytest.raises(InputError, match="leafkit export"):
        leafkit.check_student(copied)


def test_an_address_is_refused_before_anything_is_opened(exported):
    with pytest.raises(OptionError, match="is no address"):
        leafkit.check_student(exported, urls=["localhost:8080"])
