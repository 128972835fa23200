"""Ids and payload come back as they went in, whatever the strings are."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.errors import DamageError, TextError
from leafkit.search.documents import Document, DocumentFiles, Documents, DocumentWriter, write_documents

ANY_STRING = st.text(st.characters(codec=None), max_size=30)  # half surrogate pairs, newlines and NUL among them
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_STRING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_STRING, inner, max_size=3),
    max_leaves=6,
)


def files_in(folder: Path) -> DocumentFiles:
    return DocumentFiles(
        lines=folder / "d.jsonl", offsets=folder / "o.npy", keys=folder / "k.npy", rows=folder / "r.npy"
    )


def written(folder: Path, ids: list[str]) -> Documents:
    write_documents(files_in(folder), [Document(name, {"text": f"text of {name}"}) for name in ids])
    return Documents(files_in(folder))


@given(st.dictionaries(ANY_STRING, st.dictionaries(ANY_STRING, JSON, max_size=3), max_size=20))
def test_any_id_and_payload_come_back(payloads: dict[str, dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = files_in(Path(folder))
        assert write_documents(files, [Document(*pair) for pair in payloads.items()]) == len(payloads)
        for memory_map in (True, False):
            documents = Documents(files, memory_map=memory_map)
            assert {document.id: document.payload for document in documents} == payloads
            assert documents.rows_of(list(payloads)).tolist() == list(range(len(payloads)))


@given(st.sets(ANY_STRING, min_size=1, max_size=20), st.sets(ANY_STRING, max_size=20))
def test_only_ids_that_are_there_are_found(ids: set[str], others: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        documents = written(Path(folder), sorted(ids))
        for name, row in zip(others, documents.rows_of(others).tolist(), strict=True):
            assert (row >= 0) == (name in ids)
            assert row < 0 or documents[row].id == name


def test_the_lines_are_json_in_utf8(tmp_path: Path) -> None:
    write_documents(files_in(tmp_path), [Document("\ud800", {"text": "é\n\u2028"}), Document("b", {})])
    lines = (tmp_path / "d.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line.decode("utf-8"))["id"] for line in lines[:-1]] == ["\ud800", "b"]


def test_an_id_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"'a' \(document 3\), 'b' \(document 4\)"):
        written(tmp_path, ["a", "b", "a", "b", "c"])


def test_many_ids_twice_are_counted(tmp_path: Path) -> None:
    ids = [f"id {i}" for i in range(100)]
    with pytest.raises(TextError, match="and 95 more"):
        written(tmp_path, ids + ids)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), numpy.float32(1)])
def test_a_payload_that_is_not_json_is_refused_by_id(tmp_path: Path, value: object) -> None:
    with pytest.raises(TextError, match="payload of document 'x'"):
        write_documents(files_in(tmp_path), [Document("x", {"value": value})])


def test_a_copy_of_rows_equals_writing_them(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "copy").mkdir()
    whole = written(tmp_path, [f"é{i}" for i in range(50)])
    rows = numpy.array([0, 1, 2, 7, 8, 30, 49])
    written(tmp_path / "some", [f"é{i}" for i in rows])
    with DocumentWriter(files_in(tmp_path / "copy")) as writer:
        writer.copy(whole, rows)
        writer.finish()
    for name in ("d.jsonl", "o.npy", "k.npy", "r.npy"):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "some" / name).read_bytes()


def test_a_removed_row_gives_its_id_free(tmp_path: Path) -> None:
    with DocumentWriter(files_in(tmp_path)) as writer:
        for text in ("old", "new"):
            writer.add(Document("a", {"text": text}))
        writer.finish(numpy.array([False, True]))
    assert Documents(files_in(tmp_path)).rows_of(["a"]).tolist() == [1]


def test_no_documents_are_documents_too(tmp_path: Path) -> None:
    documents = written(tmp_path, [])
    assert len(documents) == 0
    assert documents.rows_of(["a"]).tolist() == [-1]
    assert documents.rows_of([]).tolist() == []


def test_reading_goes_on_after_the_files_are_deleted(tmp_path: Path) -> None:
    documents = written(tmp_path, ["a", "b"])
    for name in ("d.jsonl", "o.npy", "k.npy", "r.npy"):
        (tmp_path / name).unlink()
    assert documents[documents.rows_of(["b"])[0]].payload == {"text": "text of b"}


def test_files_that_do_not_fit_together_are_damage(tmp_path: Path) -> None:
    written(tmp_path, ["a", "b"])
    for name, content in (("d.jsonl", b"{}\n"), ("o.npy", b""), ("k.npy", b"pickle")):
        (tmp_path / "broken").mkdir(exist_ok=True)
        for part in ("d.jsonl", "o.npy", "k.npy", "r.npy"):
            (tmp_path / "broken" / part).write_bytes((tmp_path / part).read_bytes())
        (tmp_path / "broken" / name).write_bytes(content)
        with pytest.raises(DamageError):
            Documents(files_in(tmp_path / "broken"))


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    written(tmp_path, ["a"])
    numpy.save(tmp_path / "o.npy", numpy.array([print, 1], dtype=object), allow_pickle=True)
    for memory_map in (True, False):
        with pytest.raises(DamageError):
            Documents(files_in(tmp_path), memory_map=memory_map)
