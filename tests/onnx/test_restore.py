"""A student that has only ONNX files can be trained further like one with torch weights."""

import json
import shutil

import numpy
import onnx
import pytest
import torch
from transformers import AutoConfig

import leafkit
from leafkit.errors import DamageError, InputError
from leafkit.files.digest import sha256_file
from leafkit.index.encoder_files import copy_query_encoder
from leafkit.onnx.restore import restore
from leafkit.search.query_encoder import RECORD, digest
from leafkit.students.contents import MARKER, hash_files
from leafkit.students.encoder import open_student
from leafkit.students.folder import read_student
from leafkit.students.spec import Pretrained
from leafkit.training.source import open_source


def weights_of(model):
    """Return the floating-point weights of ``model`` by name, without integer buffers such as position ids."""
    return {name: values for name, values in model.state_dict().items() if values.is_floating_point()}


@pytest.fixture
def shipped(exported_once, tmp_path):
    """A copy of the export, to be broken."""
    return shutil.copytree(exported_once, tmp_path / "shipped")


def test_weights_restored_from_float32_are_exact(shipped, student):
    ours, theirs = weights_of(open_student(student, device="cpu").model), weights_of(restore(shipped).model)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert torch.equal(values, theirs[name]), name


def test_weights_restored_from_int8_are_close(shipped, student):
    (shipped / "onnx" / "model.onnx").unlink()
    ours, theirs = weights_of(open_student(student, device="cpu").model), weights_of(restore(shipped).model)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        near = torch.nn.functional.cosine_similarity(values.flatten(), theirs[name].flatten(), dim=0)
        assert near > 0.9995, name


@pytest.fixture(scope="module")
def modern(tiny_teacher, tmp_path_factory):
    """A ModernBERT, whose matrices have no biases."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = AutoConfig.for_model("modernbert", vocab_size=200, max_position_embeddings=80, pad_token_id=0, **sizes)
    folder = tmp_path_factory.mktemp("modern")
    config.save_pretrained(folder)
    return f"fresh:{folder / 'config.json'}"


def test_a_student_without_biases_is_restored(modern, tiny_texts, teacher, tmp_path):
    leafkit.distill(tiny_texts, teacher, modern, tmp_path / "student", epochs=1, keep="last", export=False)
    shipped = leafkit.export(tmp_path / "student", out=tmp_path / "shipped")
    ours = weights_of(open_student(tmp_path / "student", device="cpu").model)
    assert all(torch.equal(ours[name], values) for name, values in weights_of(restore(shipped).model).items())
    (shipped / "onnx" / "model.onnx").unlink()
    for name, values in weights_of(restore(shipped).model).items():
        near = torch.nn.functional.cosine_similarity(values.flatten(), ours[name].flatten(), dim=0)
        assert near > 0.999, name


@pytest.mark.parametrize("spec", ["static:dim=16", "teacher:layers=1,pooling=cls"])
def test_token_tables_and_other_poolings_are_restored(spec, tiny_texts, teacher, sentences, tmp_path):
    leafkit.distill(tiny_texts, teacher, spec, tmp_path / "student", epochs=0, head_bias=False, export=False)
    shipped = leafkit.export(tmp_path / "student", out=tmp_path / "shipped")
    wanted = open_student(tmp_path / "student").model.encode(sentences[:20])
    assert numpy.allclose(restore(shipped).model.encode(sentences[:20]), wanted, atol=1e-6)


def test_a_restored_student_starts_at_its_old_figures_and_improves(shipped, tiny_texts, teacher, tmp_path):
    (shipped / "onnx" / "model.onnx").unlink()
    was = read_student(shipped).training["best"]["cosine_mean"]
    settings = {"texts": tiny_texts, "teacher": teacher, "student": str(shipped), "precision": "float32"}
    now = leafkit.distill(**settings, out=tmp_path / "on", epochs=3, learning_rate=1e-3, export=False).training
    assert now["start"]["cosine_mean"] == pytest.approx(was, abs=0.002)
    assert now["best"]["cosine_mean"] > was
    assert not read_student(tmp_path / "on").runtime_only


def test_an_export_without_module_files_raises_with_a_remedy(student, tmp_path):
    copy_query_encoder(student, tmp_path / "host")
    with pytest.raises(InputError, match=r"how the student is built .* leafkit export STUDENT --out NEW"):
        open_source(Pretrained(source=str(tmp_path / "host")), None)


def test_a_graph_without_one_of_the_weights_raises(shipped):
    (shipped / "onnx" / "model.onnx").unlink()
    file = shipped / "onnx" / "model_quantized.onnx"
    model = onnx.load(str(file))
    hidden = next(t.name for t in model.graph.initializer if t.name.endswith("attention.self.value.bias"))
    for tensor in model.graph.initializer:
        if tensor.name == hidden:
            tensor.name = "val_1000"
    for node in model.graph.node:
        node.input[:] = ["val_1000" if name == hidden else name for name in node.input]
    onnx.save(model, str(file))
    record = json.loads((shipped / RECORD).read_bytes())
    record["files"]["onnx/model_quantized.onnx"] = sha256_file(file)
    record["sha256"] = digest(record)
    (shipped / RECORD).write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"lacks 1 of \d+ weights, first 0\.model\.\S+\.value\.bias"):
        restore(shipped)


def test_a_changed_file_raises_damage(shipped):
    shutil.copy(shipped / "leafkit.json", shipped / "onnx" / "model.onnx")
    with pytest.raises(DamageError, match=r"truncated or changed"):
        restore(shipped)


def reseal(folder):
    """Write the hashes of the files as they are now, as an attacker can."""
    raw = json.loads((folder / MARKER).read_bytes())
    (folder / MARKER).write_text(json.dumps(raw | {"files": raw["files"] | hash_files(folder)}))


@pytest.mark.parametrize(
    ("file", "content"), [("modules.json", "["), ("modules.json", '[{"path": ""}]'), ("config.json", "{}")]
)
def test_broken_module_files_raise_damage(shipped, file, content):
    (shipped / file).write_text(content)
    with pytest.raises(DamageError, match=rf"{file} is truncated or changed"):
        restore(shipped)
    reseal(shipped)
    broken = r"modules\.json is not the modules of a student|shipped that say how the student is built are broken"
    with pytest.raises(DamageError, match=broken):
        restore(shipped)


def test_module_files_of_another_student_raise_damage(shipped):
    file = shipped / "1_Pooling" / "config.json"
    flags = json.loads(file.read_bytes())
    file.write_text(json.dumps(flags | {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}))
    reseal(shipped)
    with pytest.raises(DamageError, match=r"gives other vectors than its ONNX file"):
        restore(shipped)


def test_a_student_folder_named_onnx_is_exported(student, tmp_path):
    copied = shutil.copytree(student, tmp_path / "onnx")
    (copied / "runs" / "a").mkdir(parents=True)
    (copied / "runs" / "a" / "x.json").write_text("{}")
    out = leafkit.export(copied, out=tmp_path / "host")
    assert restore(out)
    assert not (out / "runs").exists()
