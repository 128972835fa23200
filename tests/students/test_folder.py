import json

import numpy
import pytest
from sentence_transformers import SentenceTransformer

from leafkit.errors import OutputError
from leafkit.files.atomic import atomic_folder
from leafkit.students.card import _parameters
from leafkit.students.encoder import open_student
from leafkit.students.folder import read_student, write_student
from leafkit.teachers.open import open_teacher
from leafkit.types import Teacher
from tests.fixtures.students import new_student

TEXTS = ["a list of files", "the user of a server"]


@pytest.fixture(params=["teacher:layers=2", "static:dim=8"])
def student(request, tiny_teacher, tmp_path):
    teacher = open_teacher(tiny_teacher, compute="float32")
    made = new_student(request.param, teacher, tiny_teacher)
    return made, write_student(tmp_path / "student", made, teacher.space, {"recipe": {}})


def test_a_written_student_reopens_with_the_same_vectors(student):
    made, facts = student
    model, opened = made.model, open_student(facts.path)
    for role, encode in (("query", model.encode_query), ("document", model.encode_document)):
        assert opened.encode(TEXTS, role) == pytest.approx(encode(TEXTS), abs=1e-6)
    assert opened.space == facts.space == read_student(facts.path).space


def test_an_opened_student_is_a_teacher_marked_as_approximate(student):
    opened = open_student(student[1].path)
    assert isinstance(opened, Teacher)
    assert opened.approximate
    assert opened.encode([], "query").shape == (0, 32)
    assert opened.encode(TEXTS[:1], "query").dtype == numpy.float32


def test_open_teacher_opens_a_student(student):
    assert open_teacher(student[1].path).space == student[1].space


def test_the_parameter_count_equals_that_of_the_plainly_loaded_model(student):
    made, facts = student
    plain = SentenceTransformer(str(facts.path), device="cpu")
    counts = {sum(p.numel() for p in each.parameters()) for each in (made.model, plain)}
    assert counts == {_parameters(facts)}


def test_every_module_is_stock(student):
    modules = json.loads((student[1].path / "modules.json").read_text())
    assert all(module["type"].startswith("sentence_transformers.") for module in modules)


def test_a_full_disk_raises_an_output_error(student, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    made, facts = student

    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(SentenceTransformer, "save_pretrained", full)
    with (
        pytest.raises(OutputError, match="disk is full"),
        atomic_folder(tmp_path / "new", marker="leafkit.json") as folder,
    ):
        write_student(folder, made, facts.space, {})
    assert not (tmp_path / "new").exists()
