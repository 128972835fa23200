"""`export(student, out=FOLDER)` writes a folder for all runtimes, also from a student that has int8 ONNX alone."""

import json
import os
import shutil
from pathlib import Path

import numpy
import onnx
import pytest
import safetensors.numpy
from sentence_transformers import SentenceTransformer

import leafkit
from leafkit.onnx.graph import copy_graph
from leafkit.students.contents import MARKER
from leafkit.students.encoder import open_student
from leafkit.students.folder import read_student

TEXTS = ["list the files of a folder", "copy a file " * 20]


@pytest.fixture(scope="module")
def shipped(student, tmp_path_factory):
    """The exported student with int8 ONNX alone, as leafkit ships one, under a card with a licence."""
    folder = shutil.copytree(student, tmp_path_factory.mktemp("shipped") / "shipped")
    for file in (*folder.rglob("*.safetensors"), folder / "onnx" / "model.onnx"):
        file.unlink()
    (folder / "README.md").write_text("---\nlicense: mit\nlanguage:\n- en\ntags: [old]\n---\n\n# A card\n")
    return folder


@pytest.fixture(scope="module")
def whole(shipped, tmp_path_factory):
    """A complete folder made of ``shipped`` by a user whose files others of the group may read."""
    before = os.umask(0o027)
    try:
        return leafkit.export(shipped, out=tmp_path_factory.mktemp("whole") / "whole", licence="apache-2.0")
    finally:
        os.umask(before)


def test_the_folder_is_complete_and_every_file_is_hashed(whole, student):
    names = {file.relative_to(whole) for file in whole.rglob("*") if file.is_file()}
    assert names == {file.relative_to(student) for file in student.rglob("*") if file.is_file()}
    facts = leafkit.info(whole)
    assert facts["weights"] == "torch, int8 ONNX, float32 ONNX"
    assert "the student's files match their checksums" in facts["health"]
    assert set(read_student(whole).files) == set(read_student(student).files)


def test_every_runtime_gives_nearly_the_vectors_of_the_int8_file_and_int8_the_same(whole, shipped):
    int8 = leafkit.QueryEncoder.open(shipped).encode(TEXTS, "query")
    plain = SentenceTransformer(str(whole), device="cpu").encode(TEXTS, prompt_name="query")
    assert (plain * int8).sum(axis=1).min() > 0.999
    float32 = leafkit.QueryEncoder.open(whole, precision="float32").encode(TEXTS, "query")
    assert float32 == pytest.approx(plain, abs=1e-5)
    assert numpy.array_equal(leafkit.QueryEncoder.open(whole, precision="int8").encode(TEXTS, "query"), int8)


def test_the_weight_files_hold_the_weights_and_nothing_else(whole, student):
    for name in read_student(student).weights:
        ours, theirs = (safetensors.numpy.load_file(folder / name) for folder in (whole, student))
        assert {key: values.shape for key, values in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_files_follow_the_users_umask(whole):
    assert {oct(file.stat().st_mode & 0o777) for file in whole.rglob("*") if file.is_file()} == {"0o640"}


def test_the_card_keeps_its_text_and_gets_the_licence_and_the_tags_of_a_complete_folder(whole):
    card = (whole / "README.md").read_text()
    assert card.startswith('---\nlibrary_name: "sentence-transformers"\n')
    assert 'license: "apache-2.0"\n' in card
    assert "language:\n- en\n" in card
    assert "- transformers.js\n" in card
    assert "old" not in card
    assert card.endswith("\n# A card\n")


def test_no_graph_says_where_it_was_made(whole, tmp_path):
    for file in (whole / "onnx").glob("*.onnx"):
        content = file.read_bytes()
        assert not [word for word in (b"site-packages", b".py", bytes(Path.cwd())) if word in content]
        model = onnx.load(str(file))
        model.graph.node[0].doc_string = "File /home/me/model.py"
        model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value="/home/me/model.py")
        onnx.save(model, str(tmp_path / "noted.onnx"))
        copy_graph(tmp_path / "noted.onnx", tmp_path / "copy.onnx")
        assert (tmp_path / "copy.onnx").read_bytes() == content


def test_a_complete_student_is_copied_byte_by_byte(exported, tmp_path):
    copy = leafkit.export(exported, out=tmp_path / "copy", int8=False)
    assert read_student(copy).raw == read_student(exported).raw
    assert leafkit.info(copy)["weights"] == "torch, float32 ONNX"


def test_a_student_of_version_1_is_written_anew(copied, tmp_path):
    raw = json.loads((copied / MARKER).read_bytes())
    weights = {name: digest for name, digest in raw.pop("files").items() if name.endswith(".safetensors")}
    (copied / MARKER).write_text(json.dumps(raw | {"version": 1, "weights": weights}))
    types = (copied / "modules.json").read_text().replace("models.Dense", "base.modules.dense.Dense")
    (copied / "modules.json").write_text(types)
    new = leafkit.export(copied, out=tmp_path / "new", int8=False)
    assert "sentence_transformers.models.Dense" in (new / "modules.json").read_text()
    facts = read_student(new)
    assert facts.version == 2
    assert set(facts.files) > set(weights)
    assert numpy.array_equal(open_student(new).encode(TEXTS, "query"), open_student(copied).encode(TEXTS, "query"))
