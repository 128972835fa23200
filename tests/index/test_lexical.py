"""The words of an index: the same files whatever the size of a run, and after updates the scores of a new build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.index import lexical as lexical_writer
from leafkit.index.package_files import remove_leftovers
from leafkit.search.manifest import LEXICAL_PARTS, read_manifest
from leafkit.search.package import open_package
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from tests.fixtures.packages import index_vectors, update_vectors

WORDS = [f"w{number}" for number in range(40)]
QUERIES = ["w0 w1", "w3 w39 w3", "w17", "zz"]


def payload_of(rows: list[int]) -> list[dict[str, Any]]:
    """A text of up to 12 words for each row; every ninth has none."""
    drawn = (numpy.random.default_rng(row) for row in rows)
    return [{"text": " ".join(one.choice(WORDS, row % 9 and one.integers(12)))} for row, one in zip(rows, drawn)]


def scored(index: Path) -> list[dict[str, float]]:
    """Return the score of every document found for each query, by id."""
    package = open_package(index, verify=True)
    lexical, documents = package.lexical(), package.documents()
    assert lexical is not None
    found = [lexical.search(query, 10**9) for query in QUERIES]
    return [{documents[row].id: score for row, score in zip(one.rows.tolist(), one.scores.tolist())} for one in found]


def lexical_bytes(index: Path) -> list[bytes]:
    parts = read_manifest(index).parts
    return [(index / parts[part]).read_bytes() for part in LEXICAL_PARTS]


def built(rows: list[int], vectors: numpy.ndarray, ids: list[str], space: Space, out: Path, **options: Any) -> Path:
    named = [ids[row] for row in rows]
    return index_vectors(named, vectors[rows].reshape(-1, 64), space, out, payload=payload_of(rows), **options)


def test_the_size_of_a_run_changes_no_byte(
    vectors: numpy.ndarray, ids: list[str], space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(range(60))
    whole = lexical_bytes(built(rows, vectors, ids, space, tmp_path / "whole"))
    for size in (1, 50):
        monkeypatch.setattr(lexical_writer, "RUN_WORDS", size)
        monkeypatch.setattr(lexical_writer, "MERGED", size)
        assert lexical_bytes(built(rows, vectors, ids, space, tmp_path / f"runs of {size}")) == whole
    assert not [*tmp_path.rglob("*.raw")]


def test_an_updated_index_scores_like_one_built_anew(
    vectors: numpy.ndarray, ids: list[str], space: Space, tmp_path: Path
) -> None:
    index = built(list(range(20)), vectors, ids, space, tmp_path / "index")
    alive = list(range(20))
    steps = [([1, 3, 5], [], False), ([2], [30, 3, 31], False), ([], [4, 40, 30], False), ([0, 40], [50, 5], True)]
    for remove, add, compact in steps:
        new = None if not add else vectors[add]
        gone = [ids[row] for row in remove]
        options = {"payload": payload_of(add), "replace": True, "compact": compact}
        update_vectors(index, ids=[ids[row] for row in add], vectors=new, remove=gone, **options)
        alive = [row for row in alive if row not in (*remove, *add)] + add
        fresh = built(alive, vectors, ids, space, tmp_path / "fresh", overwrite=True)
        assert scored(index) == scored(fresh)
    assert lexical_bytes(index) == lexical_bytes(tmp_path / "fresh")


def test_an_index_without_words_stays_without_them(
    vectors: numpy.ndarray, ids: list[str], space: Space, tmp_path: Path
) -> None:
    index = built(list(range(50)), vectors, ids, space, tmp_path / "index", lexical=False)
    before = Searcher.open(index).search(vectors[3]).ids
    update_vectors(index, ids=["new"], vectors=vectors[60:61], payload=[{"text": "w1"}], remove=["none"], compact=True)
    package = open_package(index, verify=True)
    assert package.lexical() is None
    assert not {*package.manifest.parts} & {*LEXICAL_PARTS}
    assert Searcher.open(index).search(vectors[3]).ids[:3] == before[:3]


def test_an_update_stores_and_drops_words_and_touches_nothing_else(
    vectors: numpy.ndarray, ids: list[str], space: Space, tmp_path: Path
) -> None:
    index = built(list(range(50)), vectors, ids, space, tmp_path / "index", lexical=False)
    before = read_manifest(index)
    with_words = update_vectors(index, lexical=True, remove=ids[:5])
    assert (with_words.count, with_words.words) == (45, "stored")
    assert str(with_words) == "stored the words of all documents; added 0, removed 5; the index holds 45 documents"
    stored = read_manifest(index)
    assert scored(index) == scored(built(list(range(5, 50)), vectors, ids, space, tmp_path / "fresh"))
    assert {*stored.parts} - {*before.parts} == {*LEXICAL_PARTS, "live"}
    assert stored.parts.items() >= before.parts.items()
    assert update_vectors(index, lexical=True) == replace(with_words, removed=0, words="")
    assert read_manifest(index).generation == stored.generation

    assert update_vectors(index, lexical=False).words == "dropped"
    dropped = read_manifest(index)
    assert {*dropped.parts} == {*before.parts, "live"}
    assert not [*index.glob("words*")]
    assert Searcher.open(index).search(vectors[7], 1).ids == [ids[7]]
    with pytest.raises(OptionError, match="leafkit update INDEX --lexical"):
        _ = Searcher.open(index).lexical


def test_storing_words_rewrites_no_vector_of_an_index_with_many_removed_rows(
    vectors: numpy.ndarray, ids: list[str], space: Space, tmp_path: Path
) -> None:
    index = built(list(range(50)), vectors, ids, space, tmp_path / "index", lexical=False)
    update_vectors(index, remove=ids[:20], compact=False)
    before = read_manifest(index)
    update_vectors(index, lexical=True)
    after = read_manifest(index)
    assert (after.rows, after.parts["index"]) == (before.rows, before.parts["index"]) == (50, before.parts["index"])
    assert scored(index) == scored(built(list(range(20, 50)), vectors, ids, space, tmp_path / "fresh"))


@pytest.mark.parametrize("compact", [False, True])
def test_words_stored_while_documents_come_and_go_are_those_of_a_new_index(
    compact: bool, vectors: numpy.ndarray, ids: list[str], space: Space, tmp_path: Path
) -> None:
    index = built(list(range(30)), vectors, ids, space, tmp_path / "index", lexical=False)
    new = {"ids": [ids[40], ids[3]], "vectors": vectors[[40, 3]], "payload": payload_of([40, 3])}
    update_vectors(index, **new, remove=[ids[9]], replace=True, lexical=True, compact=compact)
    fresh = [*(row for row in range(30) if row not in (3, 9)), 40, 3]
    assert scored(index) == scored(built(fresh, vectors, ids, space, tmp_path / "fresh"))


def test_runs_that_a_killed_update_left_are_deleted_by_the_next(
    vectors: numpy.ndarray, ids: list[str], space: Space, tmp_path: Path
) -> None:
    index = built([1, 2], vectors, ids, space, tmp_path / "index")
    (index / "words-2.raw").write_bytes(b"left")
    remove_leftovers(index, read_manifest(index))
    assert not (index / "words-2.raw").exists()
