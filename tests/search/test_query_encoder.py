import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leafkit.errors import DamageError, InputError, OptionError
from leafkit.search.query_encoder import QueryEncoder
from leafkit.students.encoder import open_student
from leafkit.types import Encoder
from leafkit.vectors.golden_texts import GOLDEN

HEAVY = {"torch", "transformers", "sentence_transformers", "pyarrow", "pandas", "scipy", "sklearn", "onnx"}


@pytest.fixture(scope="module", params=["int8", "float32"])
def encoder(request, exported):
    return QueryEncoder.open(exported, precision=request.param)


def test_a_query_encoder_implements_encoder_in_the_students_space(encoder, exported):
    assert isinstance(encoder, Encoder)
    assert encoder.space == open_student(exported).space


def test_encoding_a_query_imports_neither_torch_nor_arrow(exported):
    program = (
        "import sys, leafkit.search.query_encoder\n"
        f"loaded = {HEAVY | {'onnxruntime', 'tokenizers'}} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        f"assert leafkit.QueryEncoder.open({str(exported)!r}).encode(['a file']).shape == (1, 32)\n"
        f"print(sorted({HEAVY} & set(sys.modules)))\n"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_each_role_has_its_own_prompt(encoder):
    prompt = encoder.prompts["query"]
    assert prompt
    assert (encoder.encode(["list files"], "query") == encoder.encode([prompt + "list files"], "document")).all()
    assert (encoder.encode(["list files"], "query") != encoder.encode(["list files"], "document")).any()


def test_the_vector_of_a_text_does_not_depend_on_other_texts(encoder, sentences):
    together = encoder.encode(sentences[:20])
    assert (together == numpy.concatenate([encoder.encode([text]) for text in sentences[:20]])).all()
    assert (encoder.encode(sentences[:20][::-1]) == together[::-1]).all()


def test_many_threads_sharing_an_encoder_compute_the_vectors_of_one_thread(encoder, sentences):
    alone = encoder.encode(sentences)
    with ThreadPoolExecutor(8) as pool:
        shared = list(pool.map(lambda text: encoder.encode([text])[0], sentences * 3))
    assert (numpy.array(shared) == numpy.concatenate([alone] * 3)).all()


def test_the_number_of_threads_does_not_change_vectors(exported, sentences):
    one, two = (QueryEncoder.open(exported, precision="float32", threads=n).encode(sentences[:20]) for n in (1, 2))
    assert numpy.abs(one - two).max() < 1e-6


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_has_a_vector_of_unit_length(encoder, text):
    vector = encoder.encode([text])
    assert vector.dtype == numpy.float32
    assert abs(numpy.linalg.norm(vector) - 1) < 1e-5


def test_a_text_is_truncated_at_the_length_limit(encoder):
    words = ["list files"] * 500
    assert (encoder.encode([" ".join(words)]) == encoder.encode([" ".join(words[:400])])).all()
    assert (encoder.encode([" ".join(words)]) != encoder.encode([" ".join(words[:5])])).any()


def test_an_empty_text_is_encoded_as_the_prompt_alone(encoder):
    assert (encoder.encode([""]) == encoder.encode([encoder.prompts["query"]], "document")).all()


def test_an_empty_list_of_texts_returns_no_rows(encoder):
    assert encoder.encode([]).shape == (0, 32)


@pytest.mark.parametrize("text", [None, 7, b"bytes", ["a list"], float("nan")])
def test_a_text_that_is_not_a_string_raises_an_error_with_its_position(encoder, text):
    with pytest.raises(OptionError, match=r"text 2 of 2: got \w+; expected a string"):
        encoder.encode(["a file", text])


def test_half_a_surrogate_pair_raises_an_error(encoder):
    with pytest.raises(OptionError, match="not valid Unicode"):
        encoder.encode(["\ud83d"])


def test_a_string_instead_of_a_list_raises_an_error(encoder):
    with pytest.raises(OptionError, match="texts is the string 'list files'; expected a list of texts"):
        encoder.encode("list files")


def test_an_unknown_role_raises_an_error(encoder):
    with pytest.raises(OptionError, match="unknown role 'passage'"):
        encoder.encode(["a file"], "passage")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision is 'int4'; expected auto, int8 or float32"),
        ({"threads": 0}, "threads is 0; expected at least 1"),
        ({"threads": -1}, "threads is -1; expected at least 1"),
    ],
)
def test_options_outside_their_range_raise_an_error(exported, options, message):
    with pytest.raises(OptionError, match=message):
        QueryEncoder.open(exported, **options)


def test_auto_precision_is_int8_if_that_was_exported_else_float32(copied):
    assert QueryEncoder.open(copied).precision == "int8"
    (copied / "onnx" / "model_quantized.onnx").unlink()
    assert QueryEncoder.open(copied).precision == "float32"
    with pytest.raises(DamageError, match="lacks the int8 file"):
        QueryEncoder.open(copied, precision="int8")


def other_processor(folder):
    """Reverse the int8 golden vectors in ``folder``, as if this processor computed int8 differently."""
    record = json.loads((folder / "onnx" / "export.json").read_bytes())
    for golden in record["golden"]:
        golden["int8"] = golden["int8"][::-1]
    (folder / "onnx" / "export.json").write_text(json.dumps(record))


def test_a_processor_that_computes_int8_differently_falls_back_to_float32_with_a_warning(copied, caplog):
    other_processor(copied)
    assert QueryEncoder.open(copied).precision == "float32"
    assert "golden vectors in int8" in caplog.text
    with pytest.raises(DamageError, match="other vectors on this machine"):
        QueryEncoder.open(copied, precision="int8")


def test_a_processor_that_computes_int8_differently_needs_the_float32_file(copied):
    other_processor(copied)
    (copied / "onnx" / "model.onnx").unlink()
    with pytest.raises(DamageError, match="copy its float32 file"):
        QueryEncoder.open(copied)


def turned(vector, cosine):
    """Return a vector that has this cosine with ``vector``."""
    vector = numpy.array(vector)
    across = numpy.eye(len(vector))[0] - vector[0] * vector / (vector @ vector)
    across *= numpy.linalg.norm(vector) / numpy.linalg.norm(across)
    return (cosine * vector + numpy.sqrt(1 - cosine**2) * across).tolist()


@pytest.mark.parametrize(("cosine", "precision"), [(0.99995, "int8"), (0.9998, "float32"), (0.998, "float32")])
@pytest.mark.parametrize("place", range(3))
def test_int8_is_trusted_only_if_each_golden_vector_checked_agrees_to_four_digits(copied, place, cosine, precision):
    """A processor that lets int8 products overflow still gets cosines up to 0.998."""
    record = json.loads((copied / "onnx" / "export.json").read_bytes())
    golden = record["golden"][place]
    golden["int8"] = turned(golden["int8"], cosine)
    (copied / "onnx" / "export.json").write_text(json.dumps(record))
    assert QueryEncoder.open(copied).precision == precision


def test_golden_texts_get_the_recorded_vectors(encoder, exported):
    record = json.loads((exported / "onnx" / "export.json").read_bytes())
    expected = numpy.array([golden[encoder.precision] for golden in record["golden"]])
    got = numpy.concatenate([encoder.encode([text], role) for text, role in GOLDEN])
    assert numpy.abs(expected - got).max() < 1e-5


def test_a_folder_without_an_export_names_the_command(tiny_teacher):
    with pytest.raises(InputError, match=r"has no onnx/export.json. Run: leafkit export"):
        QueryEncoder.open(tiny_teacher)
