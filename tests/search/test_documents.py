"""Documents read back as they were written, whatever strings they hold, and damage to their files is detected."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.errors import DamageError
from leafkit.files.open_files import OpenFiles
from leafkit.index.documents import DocumentWriter, write_documents
from leafkit.search.documents import Document, DocumentFiles, Documents

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


def opened(folder: Path, *, memory_map: bool = True) -> Documents:
    with OpenFiles(folder, follow_links=False) as files:
        return Documents(files_in(folder), files, memory_map=memory_map)


def written(folder: Path, ids: list[str]) -> Documents:
    return write_documents(files_in(folder), [Document(name, {"text": f"text of {name}"}) for name in ids])


@given(st.dictionaries(ANY_STRING, st.dictionaries(ANY_STRING, JSON, max_size=3), max_size=20))
def test_any_id_and_payload_read_back_equal(payloads: dict[str, dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = files_in(Path(folder))
        assert len(write_documents(files, [Document(*pair) for pair in payloads.items()])) == len(payloads)
        for memory_map in (True, False):
            documents = opened(Path(folder), memory_map=memory_map)
            assert {document.id: document.payload for document in documents} == payloads
            assert documents.rows_of(list(payloads)).tolist() == list(range(len(payloads)))


@given(st.sets(ANY_STRING, min_size=1, max_size=20), st.sets(ANY_STRING, max_size=20))
def test_an_id_is_found_if_and_only_if_it_was_written(ids: set[str], others: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        documents = written(Path(folder), sorted(ids))
        for name, row in zip(others, documents.rows_of(others).tolist(), strict=True):
            assert (row >= 0) == (name in ids)
            assert row < 0 or documents[row].id == name


def test_a_removed_document_releases_its_id(tmp_path: Path) -> None:
    with DocumentWriter(files_in(tmp_path)) as writer:
        for text in ("old", "new"):
            writer.add(Document("a", {"text": text}))
        writer.finish(numpy.array([False, True]))
    assert opened(tmp_path).rows_of(["a"]).tolist() == [1]


def test_there_may_be_no_documents(tmp_path: Path) -> None:
    documents = written(tmp_path, [])
    assert len(documents) == 0
    assert documents.rows_of(["a"]).tolist() == [-1]
    assert documents.rows_of([]).tolist() == []


def test_open_documents_can_be_read_after_their_files_are_deleted(tmp_path: Path) -> None:
    documents = written(tmp_path, ["a", "b"])
    for name in ("d.jsonl", "o.npy", "k.npy", "r.npy"):
        (tmp_path / name).unlink()
    assert documents[documents.rows_of(["b"])[0]].payload == {"text": "text of b"}


def test_files_that_do_not_belong_together_are_damage(tmp_path: Path) -> None:
    written(tmp_path, ["a", "b"])
    for name, content in (("d.jsonl", b"{}\n"), ("o.npy", b""), ("k.npy", b"pickle")):
        (tmp_path / "broken").mkdir(exist_ok=True)
        for part in ("d.jsonl", "o.npy", "k.npy", "r.npy"):
            (tmp_path / "broken" / part).write_bytes((tmp_path / part).read_bytes())
        (tmp_path / "broken" / name).write_bytes(content)
        with pytest.raises(DamageError):
            opened(tmp_path / "broken")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    written(tmp_path, ["a"])
    numpy.save(tmp_path / "o.npy", numpy.array([print, 1], dtype=object), allow_pickle=True)
    for memory_map in (True, False):
        with pytest.raises(DamageError):
            opened(tmp_path, memory_map=memory_map)
