import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leafkit.errors import DamageError, InputError, OptionError
from leafkit.search.query_encoder import QueryEncoder, copy_runtime, digest
from leafkit.students.encoder import open_student
from leafkit.students.golden import GOLDEN
from leafkit.types import Encoder

HEAVY = {"torch", "transformers", "sentence_transformers", "pyarrow", "pandas", "scipy", "sklearn", "onnx"}


@pytest.fixture(scope="module", params=["int8", "float32"])
def encoder(request, exported):
    return QueryEncoder.open(exported, precision=request.param)


def test_it_is_an_encoder_of_the_students_space(encoder, exported):
    assert isinstance(encoder, Encoder)
    assert encoder.space == open_student(exported).space


def test_a_query_imports_neither_torch_nor_arrow(exported):
    program = (
        "import sys, leafkit.search.query_encoder\n"
        f"loaded = {HEAVY | {'onnxruntime', 'tokenizers'}} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        f"assert leafkit.QueryEncoder.open({str(exported)!r}).encode(['a file']).shape == (1, 32)\n"
        f"print(sorted({HEAVY} & set(sys.modules)))\n"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_each_role_has_its_own_prompt(encoder):
    prompt = encoder.space.query_prompt
    assert prompt
    assert (encoder.encode(["list files"], "query") == encoder.encode([prompt + "list files"], "document")).all()
    assert (encoder.encode(["list files"], "query") != encoder.encode(["list files"], "document")).any()


def test_a_text_has_one_vector_whatever_comes_before_and_after_it(encoder, sentences):
    together = encoder.encode(sentences[:20])
    assert (together == numpy.concatenate([encoder.encode([text]) for text in sentences[:20]])).all()
    assert (encoder.encode(sentences[:20][::-1]) == together[::-1]).all()


def test_threads_that_share_one_encoder_get_the_vectors_of_one_thread(encoder, sentences):
    alone = encoder.encode(sentences)
    with ThreadPoolExecutor(8) as pool:
        shared = list(pool.map(lambda text: encoder.encode([text])[0], sentences * 3))
    assert (numpy.array(shared) == numpy.concatenate([alone] * 3)).all()


def test_more_threads_give_the_same_vectors(exported, sentences):
    one, two = (QueryEncoder.open(exported, precision="float32", threads=n).encode(sentences[:20]) for n in (1, 2))
    assert numpy.abs(one - two).max() < 1e-6


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_has_a_finite_vector_of_unit_length(encoder, text):
    vector = encoder.encode([text])
    assert vector.dtype == numpy.float32
    assert abs(numpy.linalg.norm(vector) - 1) < 1e-5


def test_a_text_beyond_the_limit_is_cut_there(encoder):
    words = ["list files"] * 500
    assert (encoder.encode([" ".join(words)]) == encoder.encode([" ".join(words[:400])])).all()
    assert (encoder.encode([" ".join(words)]) != encoder.encode([" ".join(words[:5])])).any()


def test_an_empty_text_is_the_prompt_alone(encoder):
    assert (encoder.encode([""]) == encoder.encode([encoder.space.query_prompt], "document")).all()


def test_no_texts_have_no_vectors(encoder):
    assert encoder.encode([]).shape == (0, 32)


@pytest.mark.parametrize("text", [None, 7, b"bytes", ["a list"], float("nan")])
def test_what_is_not_a_string_is_refused_by_its_place(encoder, text):
    with pytest.raises(OptionError, match="text 2 of 2: got a "):
        encoder.encode(["a file", text])


def test_half_a_surrogate_pair_is_refused(encoder):
    with pytest.raises(OptionError, match="not valid Unicode"):
        encoder.encode(["\ud83d"])


def test_one_string_is_not_taken_for_a_list_of_letters(encoder):
    with pytest.raises(OptionError, match="list of texts"):
        encoder.encode("list files")


def test_an_unknown_role_is_refused(encoder):
    with pytest.raises(OptionError, match="passage"):
        encoder.encode(["a file"], "passage")


@pytest.mark.parametrize("options", [{"precision": "int4"}, {"threads": 0}, {"threads": -1}])
def test_options_outside_their_range_are_refused(exported, options):
    with pytest.raises(OptionError, match=r"int4|threads"):
        QueryEncoder.open(exported, **options)


def test_auto_is_int8_where_it_was_exported_and_float32_elsewhere(copied):
    assert QueryEncoder.open(copied).precision == "int8"
    (copied / "onnx" / "model_quantized.onnx").unlink()
    assert QueryEncoder.open(copied).precision == "float32"
    with pytest.raises(DamageError, match="lacks the int8 file"):
        QueryEncoder.open(copied, precision="int8")


def other_processor(folder):
    """Have ``folder`` look as if int8 were computed differently here: its golden vectors are turned round."""
    record = json.loads((folder / "onnx" / "export.json").read_bytes())
    for golden in record["golden"]:
        golden["int8"] = golden["int8"][::-1]
    (folder / "onnx" / "export.json").write_text(json.dumps(record))


def test_a_machine_that_computes_int8_differently_falls_back_to_float32_and_says_so(copied, caplog):
    other_processor(copied)
    assert QueryEncoder.open(copied).precision == "float32"
    assert "golden vectors in int8" in caplog.text
    with pytest.raises(DamageError, match="other vectors on this machine"):
        QueryEncoder.open(copied, precision="int8")


def test_a_machine_that_computes_int8_differently_and_has_no_float32_refuses(copied):
    other_processor(copied)
    (copied / "onnx" / "model.onnx").unlink()
    with pytest.raises(DamageError, match="copy its float32 file"):
        QueryEncoder.open(copied)


def test_golden_vectors_are_those_of_the_record(encoder, exported):
    record = json.loads((exported / "onnx" / "export.json").read_bytes())
    wanted = numpy.array([golden[encoder.precision] for golden in record["golden"]])
    got = numpy.concatenate([encoder.encode([text], role) for text, role in GOLDEN])
    assert numpy.abs(wanted - got).max() < 1e-5


@pytest.mark.parametrize(("precision", "file"), [("auto", "model_quantized.onnx"), ("float32", "model.onnx")])
def test_the_runtime_is_copied_with_nothing_else(exported, tmp_path, precision, file, sentences):
    copy_runtime(exported, tmp_path / "host", precision=precision)
    found = {str(f.relative_to(tmp_path / "host")) for f in (tmp_path / "host").rglob("*") if f.is_file()}
    assert found == {"leafkit.json", "tokenizer.json", "onnx/export.json", f"onnx/{file}"}
    there, here = QueryEncoder.open(tmp_path / "host"), QueryEncoder.open(exported, precision=precision)
    assert (there.encode(sentences[:5]) == here.encode(sentences[:5])).all()


def test_a_student_without_int8_is_copied_in_float32(copied, tmp_path):
    record = json.loads((copied / "onnx" / "export.json").read_bytes())
    del record["files"]["onnx/model_quantized.onnx"]
    record["sha256"] = digest(record)
    (copied / "onnx" / "export.json").write_text(json.dumps(record))
    copy_runtime(copied, tmp_path / "host")
    assert QueryEncoder.open(tmp_path / "host").precision == "float32"
    with pytest.raises(InputError, match="exported without int8"):
        copy_runtime(copied, tmp_path / "other", precision="int8")


def test_a_folder_without_an_export_names_the_command(tiny_teacher, tmp_path):
    for call in (QueryEncoder.open, lambda folder: copy_runtime(folder, tmp_path / "host")):
        with pytest.raises(InputError, match="leafkit export"):
            call(tiny_teacher)
