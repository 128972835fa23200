"""The query encoder that is copied into a package."""

import json

import pytest

from leafkit.errors import InputError
from leafkit.index.encoder_files import copy_query_encoder
from leafkit.search.query_encoder import QueryEncoder, digest


@pytest.mark.parametrize(("precision", "file"), [("auto", "model_quantized.onnx"), ("float32", "model.onnx")])
def test_the_copy_holds_one_graph_and_encodes_like_the_student(exported, tmp_path, precision, file, sentences):
    copy_query_encoder(exported, tmp_path / "host", precision=precision)
    found = {str(f.relative_to(tmp_path / "host")) for f in (tmp_path / "host").rglob("*") if f.is_file()}
    assert found == {"leafkit.json", "tokenizer.json", "onnx/export.json", f"onnx/{file}"}
    there, here = QueryEncoder.open(tmp_path / "host"), QueryEncoder.open(exported, precision=precision)
    assert (there.encode(sentences[:5]) == here.encode(sentences[:5])).all()


def test_a_student_without_int8_is_copied_in_float32(copied, tmp_path):
    record = json.loads((copied / "onnx" / "export.json").read_bytes())
    del record["files"]["onnx/model_quantized.onnx"]
    record["sha256"] = digest(record)
    (copied / "onnx" / "export.json").write_text(json.dumps(record))
    copy_query_encoder(copied, tmp_path / "host")
    assert QueryEncoder.open(tmp_path / "host").precision == "float32"
    with pytest.raises(InputError, match=r"was exported without int8. Run: leafkit export"):
        copy_query_encoder(copied, tmp_path / "other", precision="int8")


def test_a_folder_without_an_export_names_the_command(tiny_teacher, tmp_path):
    with pytest.raises(InputError, match=r"has no onnx/export.json. Run: leafkit export"):
        copy_query_encoder(tiny_teacher, tmp_path / "host")
