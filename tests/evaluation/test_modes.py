from __future__ import annotations

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.evaluation.modes import CachedEncoder, check_modes, make_retrievers, with_cached_encoders
from leafkit.evaluation.students import OpenStudent
from leafkit.space import Space

SPACE = Space(teacher="t", weights="name:t", dim=2, normalised=True, pooling="mean", max_length=None)


class Counting:
    space = SPACE

    def __init__(self):
        self.calls = []

    def encode(self, texts, role):
        self.calls.append((tuple(texts), role))
        return numpy.full((len(texts), 2), len(self.calls), dtype=numpy.float32)


@pytest.mark.parametrize(
    ("teacher", "student", "possible"),
    [
        (True, True, ("teacher", "standard", "asymmetric")),
        (True, False, ("teacher",)),
        (False, True, ("standard",)),
    ],
)
def test_all_possible_modes_are_measured(teacher, student, possible):
    assert check_modes(None, teacher=teacher, student=student) == possible


def test_the_modes_asked_for_keep_their_usual_order():
    assert check_modes(["asymmetric", "teacher"], teacher=True, student=True) == ("teacher", "asymmetric")


@pytest.mark.parametrize(
    ("mode", "teacher", "lacking"),
    [
        ("asymmetric", False, "needs a teacher and a student"),
        ("asymmetric", True, "needs a student"),
        ("teacher", False, "needs a teacher"),
        ("standard", True, "needs a student"),
        ("sideways", True, "wanted some of teacher, standard, asymmetric"),
    ],
)
def test_a_mode_that_lacks_its_encoder_is_refused(mode, teacher, lacking):
    with pytest.raises(OptionError, match=lacking):
        check_modes([mode], teacher=teacher, student=not teacher and mode == "teacher")


def test_each_student_stands_alone_and_against_the_teachers_documents():
    teacher, first, second = Counting(), Counting(), Counting()
    students = [OpenStudent("one", first, "1"), OpenStudent("two", second, "2")]
    found = make_retrievers(("teacher", "standard", "asymmetric"), teacher, students)
    assert [(s.mode, s.student, s.query_encoder, s.document_encoder) for s in found] == [
        ("teacher", None, teacher, teacher),
        ("standard", "one", first, first),
        ("asymmetric", "one", first, teacher),
        ("standard", "two", second, second),
        ("asymmetric", "two", second, teacher),
    ]


def test_a_list_of_texts_is_encoded_once_in_each_role():
    encoder = Counting()
    kept = CachedEncoder(encoder)
    first = kept.encode(["a", "b"], "query")
    assert kept.encode(["a", "b"], "query") is first
    kept.encode(["a", "b"], "document")
    kept.encode(["ab"], "query")
    assert len(encoder.calls) == 3


def test_systems_share_what_their_encoders_remember():
    teacher, student = Counting(), Counting()
    found = with_cached_encoders(make_retrievers(("teacher", "asymmetric"), teacher, [OpenStudent("s", student, "")]))
    for retriever in found:
        retriever.document_encoder.encode(["a"], "document")
    assert len(teacher.calls) == 1
