"""A searcher of an engine answers like one of the index that was pushed there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from leafkit.errors import EngineError, OptionError, SpaceError, VectorError
from leafkit.index.push import push_index
from leafkit.search.hits import Hits
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from tests.fixtures.engines import SPACE, TABLES, VECTORS, vars_of


class Drawn:
    """An encoder that knows three texts."""

    def __init__(self, space: Space = SPACE) -> None:
        self.space = space

    def encode(self, texts: list[str], role: str) -> numpy.ndarray:
        return VECTORS[[["a", "b", "c"].index(text) for text in texts]]


@pytest.fixture(scope="module")
def address(memory: Callable[[], str], index: Path) -> str:
    address = memory()
    push_index(index, address)
    return address


@pytest.mark.parametrize("where", [None, 'word > "a" or integer missing', {"texts": ["a", "😀"]}, "integer = 2.5"])
def test_texts_and_vectors_find_what_they_find_in_the_index(address: str, index: Path, where: object) -> None:
    engine, package = (Searcher.open(place, encoder=Drawn()) for place in (address, index))
    assert (len(engine), engine.space, engine.columns) == (len(package), SPACE, package.columns)
    for query in ("b", ["c", "a"], VECTORS[7], VECTORS[8:10], []):
        found, expected = engine.search(query, 4, where=where), package.search(query, 4, where=where)
        assert isinstance(found, list) == isinstance(expected, list)
        for one, other in zip(*([hits] if isinstance(hits, Hits) else hits for hits in (found, expected)), strict=True):
            assert one.ids == other.ids
            assert one.scores == pytest.approx(other.scores, abs=1e-6)
            assert [hit["text"] for hit in one.to_dicts()] == [hit["text"] for hit in other.to_dicts()]


def test_what_an_engine_cannot_do_is_refused(address: str) -> None:
    searcher = Searcher.open(address, encoder=Drawn())
    assert searcher.reload() is searcher
    for options, message in (
        ({"allow": ["doc 1"]}, "no search among given ids"),
        ({"hybrid": 0.6}, "no hybrid search"),
        ({"effort": "teacher"}, "without its teacher"),
        ({"k": 0}, "k is 0"),
        ({"where": "colour = 'red'"}, "no column 'colour'"),
        ({"where": "word = 3"}, "'word' holds text"),
    ):
        with pytest.raises(OptionError, match=message):
            searcher.search("a", **options)
    with pytest.raises(VectorError, match="expected rows of 32 numbers"):
        searcher.search(VECTORS[0, :8])


def test_an_encoder_of_another_space_is_refused(address: str) -> None:
    other = Drawn(Space(**{**vars_of(SPACE), "weights": "name:other"}))
    with pytest.raises(SpaceError, match=r"postgresql://me:\*\*\*@host/db#table.*weights is 'name:other'"):
        Searcher.open(address, encoder=other)
    with pytest.raises(SpaceError, match="the teacher does not belong"):
        Searcher.open(address, teacher=other).search("a", effort="teacher")
    assert Searcher.open(address, teacher=Drawn()).search("a", 1, effort="teacher").ids == ["doc 0"]


def test_a_text_without_a_student_and_a_table_that_does_not_exist_say_what_to_do(address: str) -> None:
    assert Searcher.open(address).search(VECTORS[3], 1).ids == ["doc 3"]
    with pytest.raises(OptionError, match=r"holds vectors and no student.*--student STUDENT"):
        Searcher.open(address).search("a")
    with pytest.raises(EngineError, match=r"leafkit push INDEX ADDRESS"):
        Searcher.open("postgresql://me:secret@host/db#nothing")


def test_a_forged_payload_is_an_error_of_the_engine(address: str) -> None:
    table = TABLES[address.partition("#")[2]]
    name, row = next(iter(table.rows.items()))
    table.rows[name] = (row[0], "[1]", *row[2:])
    try:
        with pytest.raises(EngineError, match="is not a table of payloads"):
            Searcher.open(address).search(row[0], 1)
    finally:
        table.rows[name] = row
