import json
import shutil

import numpy
import onnxruntime
import pytest
from tokenizers import Tokenizer

import leafkit
from leafkit.errors import ExportError, InputError, OutputError
from leafkit.files.lock import folder_lock
from leafkit.onnx import student as exporter
from leafkit.onnx.head import read_head
from leafkit.search.query_encoder import QueryEncoder
from leafkit.students.encoder import open_student
from leafkit.students.folder import write_facts
from leafkit.students.golden import compare_export, nearest_kept
from leafkit.vectors.golden_texts import GOLDEN


def cosines(left, right):
    return (left * right).sum(axis=1) / numpy.linalg.norm(left, axis=1) / numpy.linalg.norm(right, axis=1)


def session(folder, name="model.onnx"):
    return onnxruntime.InferenceSession(str(folder / "onnx" / name), providers=["CPUExecutionProvider"])


def test_the_files_are_where_other_runtimes_look_for_them(exported):
    assert {file.name for file in (exported / "onnx").iterdir()} == {
        "model.onnx",
        "model_quantized.onnx",
        "export.json",
    }
    assert {"config.json", "tokenizer.json"} <= {file.name for file in exported.iterdir()}


@pytest.mark.parametrize("name", ["model.onnx", "model_quantized.onnx"])
def test_the_inputs_are_the_tokenizers_and_the_first_output_is_the_vector(exported, name):
    opened = session(exported, name)
    assert {given.name for given in opened.get_inputs()} <= {"input_ids", "attention_mask", "token_type_ids"}
    outputs = [(out.name, len(out.shape), out.shape[-1]) for out in opened.get_outputs()]
    assert outputs == [("sentence_embedding", 2, 32), ("logits", 3, 32)]


@pytest.mark.parametrize("name", ["model.onnx", "model_quantized.onnx"])
def test_any_pooling_of_the_second_output_gives_the_vector(exported, name):
    ids = numpy.array([[2, 7, 9, 3, 0], [2, 8, 9, 10, 3]])
    feed = {"input_ids": ids, "attention_mask": (ids > 0).astype(int), "token_type_ids": ids * 0}
    opened = session(exported, name)
    vectors, repeated = opened.run(None, {given.name: feed[given.name] for given in opened.get_inputs()})
    assert repeated.shape == (2, 5, 32)
    assert (repeated == vectors[:, None]).all()


def test_float32_gives_the_students_vectors_in_both_roles(exported, sentences):
    torch, onnx = open_student(exported, device="cpu"), QueryEncoder.open(exported, precision="float32")
    for role in ("query", "document"):
        assert numpy.abs(torch.encode(sentences[:40], role) - onnx.encode(sentences[:40], role)).max() < 1e-5


def test_padding_changes_nothing(exported):
    opened = session(exported)
    ids = numpy.array([[2, 7, 9, 3]], dtype=numpy.int64)
    padded = numpy.pad(ids, ((0, 0), (0, 5)))
    names = [given.name for given in opened.get_inputs()]

    def run(tokens, mask):
        values = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": numpy.zeros_like(tokens)}
        return opened.run(None, {name: values[name] for name in names})[0]

    plain = run(ids, numpy.ones_like(ids))
    assert numpy.abs(plain - run(padded, (numpy.arange(9) < 4).astype(numpy.int64)[None])).max() < 1e-5


def test_int8_stays_near_float32(exported, sentences):
    encoders = [QueryEncoder.open(exported, precision=precision) for precision in ("float32", "int8")]
    assert cosines(*(encoder.encode(sentences[:50]) for encoder in encoders)).min() > 0.98


def test_a_second_export_needs_overwrite(copied):
    with pytest.raises(OutputError, match="--overwrite"):
        leafkit.export(copied)
    assert leafkit.export(copied, int8=False, overwrite=True) == copied / "onnx"
    assert QueryEncoder.open(copied).precision == "float32"


def test_an_export_into_a_student_that_another_process_writes_raises(copied):
    with folder_lock(copied), pytest.raises(OutputError, match="another process is writing"):
        leafkit.export(copied, overwrite=True)


def test_a_graph_that_disagrees_raises_and_the_old_export_stays(copied, monkeypatch):
    before = {file.name: file.read_bytes() for file in (copied / "onnx").iterdir()}

    def other_student(student, path):
        for parameter in student.model.parameters():
            parameter.data.mul_(-1.3)
        shutil.copyfile(copied / "onnx" / "model.onnx", path)

    monkeypatch.setattr("leafkit.onnx.graph.write_float", other_student)
    wanted = exporter.golden_vectors
    monkeypatch.setattr(exporter, "golden_vectors", lambda e: wanted(e) * (-1 if hasattr(e, "model") else 1))
    with pytest.raises(ExportError, match="Nothing was written"):
        leafkit.export(copied, int8=False, overwrite=True)
    assert {file.name: file.read_bytes() for file in (copied / "onnx").iterdir()} == before


def test_an_export_to_another_folder_is_all_that_a_query_host_needs(exported, tmp_path, sentences):
    out = leafkit.export(exported, out=tmp_path / "host", int8=False)
    there, here = (QueryEncoder.open(folder, precision="float32") for folder in (out, exported))
    assert (there.encode(sentences[:5]) == here.encode(sentences[:5])).all()


def test_a_static_student_is_exported_too(tmp_path, tiny_teacher, tiny_texts, sentences):
    facts = leafkit.distill(tiny_texts, tiny_teacher, "static:dim=16", tmp_path / "static", epochs=0, export=False)
    tokenizer = Tokenizer.from_file(str(tmp_path / "static" / "tokenizer.json"))
    for limit in (None, 30):
        if limit:
            tokenizer.enable_truncation(limit)
            for place in ("tokenizer.json", "0_StaticEmbedding/tokenizer.json"):
                tokenizer.save(str(tmp_path / "static" / place))
            write_facts(
                facts.path,
                space=facts.space,
                head_width=facts.head_width,
                training=facts.training,
                prompts=facts.prompts,
            )
        leafkit.export(tmp_path / "static", overwrite=True)
        torch, onnx = open_student(tmp_path / "static"), QueryEncoder.open(tmp_path / "static", precision="float32")
        texts = [*sentences[:40], " ".join(sentences)]
        assert numpy.abs(torch.encode(texts, "query") - onnx.encode(texts, "query")).max() < 1e-5
        assert numpy.isfinite(onnx.encode(["", "数据"])).all()


def test_a_model_with_a_dense_layer_of_its_own_is_exported_and_its_head_is_the_last(
    tmp_path, narrow_model, tiny_teacher, tiny_texts
):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    modules = [*list(SentenceTransformer(str(narrow_model), device="cpu"))[:2]]
    modules.append(Dense(16, 16, activation_function=torch.nn.Tanh()))
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(tmp_path / "model"))
    leafkit.distill(tiny_texts, tiny_teacher, str(tmp_path / "model"), tmp_path / "student", epochs=0)
    weight, bias = read_head(tmp_path / "student")
    head = open_student(tmp_path / "student", device="cpu").student.linear
    assert numpy.array_equal(weight, head.weight.detach().numpy())
    assert numpy.array_equal(bias, head.bias.detach().numpy())


def test_exporting_a_folder_without_a_student_raises(tmp_path, tiny_teacher):
    with pytest.raises(InputError, match="holds no student"):
        leafkit.export(tiny_teacher, out=tmp_path / "x")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_comparison_accepts_equal_vectors_and_rejects_others(precision):
    vectors = numpy.random.default_rng(0).standard_normal((len(GOLDEN), 8)).astype(numpy.float32)
    assert compare_export(precision, vectors, vectors.copy())["nearest"] == 1.0
    for wrong in (vectors[::-1], vectors * numpy.nan, vectors * 1.1, vectors * 0, -vectors):
        with pytest.raises(ExportError, match="does not agree with the student"):
            compare_export(precision, vectors, wrong)


def test_nearest_texts_may_change_places_with_those_as_near_and_no_others():
    angles = numpy.array([0.0, 10.0, 10.1, 50.0, 90.0])
    turned = numpy.array([0.0, 10.1, 10.0, 50.0, 90.0])
    other = numpy.array([0.0, 60.0, 10.0, 50.0, 90.0])

    def vectors(degrees):
        return numpy.stack([numpy.cos(numpy.radians(degrees)), numpy.sin(numpy.radians(degrees))], axis=1)

    assert nearest_kept(vectors(angles), vectors(angles)) == 1
    assert nearest_kept(vectors(angles), vectors(turned)) == 1
    assert nearest_kept(vectors(angles), vectors(other)) < 1


def test_the_record_holds_the_figures_of_agreement(exported):
    record = json.loads((exported / "onnx" / "export.json").read_bytes())
    assert record["agreement"]["float32"]["least_cosine"] > 0.9999
    assert record["agreement"]["int8"]["mean_cosine"] > 0.99
