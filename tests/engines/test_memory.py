"""The laws of engines hold for one in memory, and a push that stops goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from leafkit.errors import EngineError, OptionError
from leafkit.index.push import push_index
from leafkit.index.verify import verify
from tests.fixtures.engines import ROWS, TABLES, EngineLaws, check_id_refused, make_index


@pytest.fixture(scope="module")
def new_address(memory: Callable[[], str]) -> Callable[[], str]:
    return memory


class TestMemory(EngineLaws):
    """In memory."""


def test_a_push_that_stops_says_how_far_it_came_and_goes_on(memory: Callable[[], str], index: Path) -> None:
    address = memory()
    push_index(make_index(index.parent / "few.index", rows=1), address)
    table = TABLES[address.partition("#")[2]]
    table.fails_after = 3
    with pytest.raises(EngineError, match=r"went away\. Run the same command again\. 80 of 150 documents are there"):
        push_index(index, address, batch=40)
    contents = table.contents()
    assert contents is not None
    assert not contents.complete
    table.fails_after = None
    assert push_index(index, address, batch=40).written == ROWS - 80
    assert verify(index, address).is_equal


def test_an_id_that_no_engine_can_hold_is_named(memory: Callable[[], str], tmp_path: Path) -> None:
    check_id_refused(memory(), tmp_path / "docs.index")


def test_a_folded_or_rotated_index_is_not_pushed(memory: Callable[[], str], tmp_path: Path) -> None:
    index = make_index(tmp_path / "docs.index", rotate="pca")
    with pytest.raises(OptionError, match="rotated or folded"):
        push_index(index, memory())


def test_a_precision_that_the_engine_lacks_is_refused(memory: Callable[[], str], index: Path) -> None:
    with pytest.raises(OptionError, match="precision is 'binary'; this engine has float32, float16"):
        push_index(index, memory(), precision="binary")


def test_a_table_that_leafkit_did_not_write_is_left_alone(memory: Callable[[], str], index: Path) -> None:
    address = memory()
    push_index(index, address)
    table = TABLES[address.partition("#")[2]]
    for comment in ("mine", '{"format": "other"}', "[" * 100_000):
        table.comment = comment
        with pytest.raises(EngineError, match="leafkit did not write it, so it is left alone"):
            push_index(index, address)
        assert table.comment == comment
    assert len(table.rows) == ROWS


def test_a_verification_shows_what_differs(memory: Callable[[], str], index: Path) -> None:
    address = memory()
    push_index(index, address)
    table = TABLES[address.partition("#")[2]]
    name, (vector, _, fields, _) = next(iter(table.rows.items()))
    table.rows[name] = (vector, '{"text": "forged"}', fields, "0")
    found = verify(index, address, sample=ROWS, where=[])
    assert (found.different, found.comparisons[0].wrong > 0, found.is_equal) == (1, True, False)
    table.remove([name])
    found = verify(index, address, sample=ROWS, k=1, where=[])
    assert found.comparisons[0].equal == ROWS - 1
    assert "150 documents in the index, 149 in the engine" in str(found)
