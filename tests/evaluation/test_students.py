from __future__ import annotations

import numpy
import pytest

from leafkit.errors import InputError, OptionError, SpaceError
from leafkit.evaluation import students
from leafkit.evaluation.provenance import student_digest
from leafkit.evaluation.students import Student, check_spaces, open_students
from leafkit.students.folder import read_student
from leafkit.teachers.open import open_teacher


def test_no_student_is_no_students():
    assert open_students(None, "torch", None) == []


def test_an_unknown_encoder_lists_those_there_are(exact_student):
    with pytest.raises(OptionError, match="wanted one of torch, onnx, onnx-int8"):
        open_students(exact_student, "int8", None)


def test_encoding_in_parts_gives_the_same_vectors(exact_student, sentences, monkeypatch, capsys):
    (student,) = open_students(exact_student, "torch", "cpu")
    whole = student.encoder.encode(sentences, "query")
    assert "exact" not in capsys.readouterr().err
    monkeypatch.setattr(students, "_AT_ONCE", 64)
    numpy.testing.assert_allclose(student.encoder.encode(sentences, "query"), whole, atol=1e-6)
    assert "exact" in capsys.readouterr().err


def test_a_student_comes_with_the_curve_of_its_training(exported):
    (student,) = open_students(exported, "torch", "cpu")
    history = read_student(exported).training["history"]
    assert [validation.cosine for validation in student.curve] == [entry["cosine_mean"] for entry in history]
    assert student.curve


def test_students_must_share_a_space(exact_student, tiny_teacher, other_teacher):
    (student,) = open_students(exact_student, "torch", "cpu")
    space = open_teacher(tiny_teacher).space
    assert check_spaces([student], space) == check_spaces([student], None) == check_spaces([], space) == space
    stranger = Student("stranger", open_teacher(other_teacher), "")
    with pytest.raises(SpaceError, match="student stranger does not belong to the vector space of the student exact"):
        check_spaces([student, stranger], None)
    with pytest.raises(InputError, match="give a teacher, a student, or both"):
        check_spaces([], None)


def test_the_digest_follows_what_the_vectors_depend_on(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = student_digest(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    assert student_digest(tmp_path) == before
    (tmp_path / "tokenizer.json").write_text("{}")
    assert student_digest(tmp_path) != before
