"""What embeddings and retrievers of all frameworks share, without a framework."""

from __future__ import annotations

import dataclasses

import numpy
import pytest

from leafkit.errors import InputError, OptionError, SpaceError
from leafkit.integrations.retrieval import Encoders, check_options, open_searcher, passages
from leafkit.search import Hits, Searcher
from leafkit.space import Space
from leafkit.types import Float32, Role

SPACE = Space(teacher="drawn", weights="name:drawn", dim=4, normalised=True, pooling="mean", max_length=64)


@dataclasses.dataclass
class Counting:
    """An encoder that says in its vectors who wrote them and in which role."""

    number: int
    space: Space = SPACE

    def encode(self, texts: list[str], role: Role) -> Float32:
        """The number, the role and the length of each text."""
        return numpy.array([[self.number, role == "document", len(text), 0] for text in texts], dtype=numpy.float32)


def test_the_student_encodes_queries_and_the_teacher_documents() -> None:
    encoders = Encoders(Counting(1), Counting(2))
    assert encoders.query("four") == [1.0, 0.0, 4.0, 0.0]
    assert encoders.documents(["a", "bc"]) == [[2.0, 1.0, 1.0, 0.0], [2.0, 1.0, 2.0, 0.0]]


def test_documents_without_a_teacher_are_refused_with_the_reason() -> None:
    with pytest.raises(OptionError, match=r"documents belong to the teacher, .* Pass the teacher as documents="):
        Encoders(Counting(1)).documents(["a"])


def test_a_teacher_of_another_space_is_refused() -> None:
    with pytest.raises(SpaceError, match="the encoder of documents does not belong to the vector space of the student"):
        Encoders(Counting(1), Counting(2, dataclasses.replace(SPACE, weights="name:other")))


def test_a_passage_has_the_score_that_orders_and_the_cosine() -> None:
    payload = [{"body": "copy a file", "score": 3, "year": 2020}]
    cosines, fused = numpy.array([0.5], dtype=numpy.float32), numpy.array([0.75], dtype=numpy.float32)
    (dense,) = passages(Hits(["a"], cosines, payload), "body")
    (hybrid,) = passages(Hits(["a"], cosines, payload, fused), "body")
    assert (dense.id, dense.text, dense.score) == ("a", "copy a file", 0.5)
    assert dense.metadata == {"score": 0.5, "payload.score": 3, "year": 2020}
    assert hybrid.score == 0.75
    assert hybrid.metadata == {**dense.metadata, "fused": 0.75}


@pytest.mark.parametrize("payload", [{"title": "a"}, {"title": "a", "text": None}])
def test_a_hit_without_its_text_is_refused(payload: dict[str, object]) -> None:
    hits = Hits(["a"], numpy.ones(1, dtype=numpy.float32), [payload])
    with pytest.raises(InputError, match="the document a has no text in the column 'text'; its columns are score, tit"):
        passages(hits, "text")


def test_an_option_that_no_search_has_is_refused_with_the_nearest() -> None:
    check_options(["where", "hybrid", "allow"])
    with pytest.raises(OptionError, match="a search has no option 'hybird'; did you mean 'hybrid'"):
        check_options(["where", "hybird"])


def test_an_open_searcher_is_used_as_it_is() -> None:
    searcher = object.__new__(Searcher)
    assert open_searcher(searcher) is searcher
