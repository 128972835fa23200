from __future__ import annotations

from types import SimpleNamespace

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.evaluation.modes import (
    CollectionVectors,
    MemoryCachedEncoder,
    check_modes,
    make_retrievers,
    with_cached_encoders,
)
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
def test_the_default_is_every_mode_that_the_models_allow(teacher, student, possible):
    assert check_modes(None, teacher=teacher, student=student) == possible


def test_requested_modes_are_sorted():
    assert check_modes(["asymmetric", "teacher"], teacher=True, student=True) == ("teacher", "asymmetric")


@pytest.mark.parametrize(
    ("mode", "teacher", "problem"),
    [
        ("asymmetric", False, "the mode asymmetric needs a teacher and a student, but none is given"),
        ("asymmetric", True, "the mode asymmetric needs a student, but none is given"),
        ("teacher", False, "the mode teacher needs a teacher, but none is given"),
        ("standard", True, "the mode standard needs a student, but none is given"),
        ("sideways", True, "unknown mode 'sideways'; expected one or more of teacher, standard, asymmetric"),
    ],
)
def test_a_mode_without_its_models_is_refused(mode, teacher, problem):
    with pytest.raises(OptionError, match=problem):
        check_modes([mode], teacher=teacher, student=not teacher and mode == "teacher")


def test_each_student_is_paired_with_itself_and_with_the_teachers_documents():
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


def test_a_cached_encoder_encodes_a_list_of_texts_once_per_role():
    encoder = Counting()
    cached = MemoryCachedEncoder(encoder)
    first = cached.encode(["a", "b"], "query")
    assert cached.encode(["a", "b"], "query") is first
    cached.encode(["a", "b"], "document")
    cached.encode(["ab"], "query")
    assert len(encoder.calls) == 3


def test_retrievers_with_the_same_encoder_share_its_cache():
    teacher, student = Counting(), Counting()
    found = with_cached_encoders(make_retrievers(("teacher", "asymmetric"), teacher, [OpenStudent("s", student, "")]))
    for retriever in found:
        retriever.document_encoder.encode(["a"], "document")
    assert len(teacher.calls) == 1


def test_each_side_of_a_collection_is_encoded_in_its_role():
    collection = SimpleNamespace(queries=["q"], documents=["d", "e"])
    encoder = Counting()
    vectors = CollectionVectors(encoder, collection)
    assert (len(vectors.queries), len(vectors.documents), len(vectors.queries)) == (1, 2, 1)
    assert encoder.calls == [(("q",), "query"), (("d", "e"), "document")]
