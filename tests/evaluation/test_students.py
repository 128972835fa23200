from __future__ import annotations

import dataclasses

import numpy
import pytest

from leafkit.errors import InputError, OptionError, SpaceError
from leafkit.evaluation import students
from leafkit.evaluation.provenance import student_digest
from leafkit.evaluation.students import OpenStudent, check_spaces, choose_encoder, open_students
from leafkit.index.encoder_files import copy_query_encoder
from leafkit.search.query_encoder import QueryEncoder
from leafkit.students.folder import read_student
from leafkit.teachers.open import open_teacher


def test_none_opens_no_students():
    assert open_students(None, "torch", None) == []


def test_an_unknown_encoder_is_refused_with_the_known_ones(exact_student):
    with pytest.raises(OptionError, match="unknown encoder 'int8'; expected one of torch, onnx, onnx-int8"):
        choose_encoder(exact_student, "int8")


@pytest.mark.parametrize(("precision", "chosen"), [("int8", "onnx-int8"), ("float32", "onnx")])
def test_the_default_encoder_is_what_all_students_have(exported, precision, chosen, tmp_path):
    copy_query_encoder(exported, tmp_path / "host", precision=precision)
    assert choose_encoder(exported, None) == choose_encoder(None, None) == "torch"
    assert choose_encoder([exported, tmp_path / "host"], None) == chosen
    assert choose_encoder(tmp_path / "host", "torch") == "torch"


def test_encoding_in_parts_gives_the_same_vectors_and_shows_progress(exact_student, sentences, monkeypatch, capsys):
    (student,) = open_students(exact_student, "torch", "cpu")
    whole = student.encoder.encode(sentences, "query")
    assert "exact" not in capsys.readouterr().err
    monkeypatch.setattr(students, "_TEXTS_PER_CALL", 64)
    numpy.testing.assert_allclose(student.encoder.encode(sentences, "query"), whole, atol=1e-6)
    assert "exact" in capsys.readouterr().err


def test_a_student_has_the_learning_curve_of_its_training(exported):
    (student,) = open_students(exported, "torch", "cpu")
    history = read_student(exported).training["history"]
    assert [validation.cosine for validation in student.curve] == [entry["cosine_mean"] for entry in history]
    assert student.curve


def test_students_must_share_a_space(exact_student, tiny_teacher, other_teacher):
    (student,) = open_students(exact_student, "torch", "cpu")
    space = open_teacher(tiny_teacher).space
    assert check_spaces([student], space) == check_spaces([student], None) == check_spaces([], space) == space
    stranger = OpenStudent("stranger", open_teacher(other_teacher), "")
    with pytest.raises(SpaceError, match="student stranger does not belong to the vector space of the student exact"):
        check_spaces([student, stranger], None)
    with pytest.raises(InputError, match="nothing to measure: no teacher and no student is given"):
        check_spaces([], None)


def test_students_of_two_copies_of_one_teacher_share_a_space(exported):
    (student,) = open_students(exported, "torch", "cpu")
    renamed = dataclasses.replace(student.fingerprint.space, weights="name:another-copy")
    copy = dataclasses.replace(student.fingerprint, space=renamed)
    other = OpenStudent("other", Relabelled(student.encoder, renamed), "", fingerprint=copy)
    assert check_spaces([student, other], None) == student.encoder.space
    turned = dataclasses.replace(copy, vectors=numpy.roll(copy.vectors, 1, axis=0))
    with pytest.raises(SpaceError, match="the student other does not belong"):
        check_spaces([student, dataclasses.replace(other, fingerprint=turned)], None)


class Relabelled:
    """An encoder in a space of another name."""

    def __init__(self, encoder, space):
        self.encode, self.space = encoder.encode, space


def test_the_digest_covers_the_files_that_the_vectors_depend_on(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = student_digest(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    assert student_digest(tmp_path) == before
    (tmp_path / "tokenizer.json").write_text("{}")
    assert student_digest(tmp_path) != before


@pytest.mark.parametrize(("encoder", "precision"), [("onnx", "float32"), ("onnx-int8", "int8")])
def test_an_exported_student_is_measured_in_the_requested_precision(exported, sentences, encoder, precision):
    (student,) = open_students(exported, encoder, None)
    vectors = {
        of: QueryEncoder.open(exported, precision=of).encode(sentences[:20], "query") for of in ("float32", "int8")
    }
    assert not numpy.allclose(vectors["float32"], vectors["int8"], atol=1e-6)
    numpy.testing.assert_allclose(student.encoder.encode(sentences[:20], "query"), vectors[precision], atol=1e-6)
