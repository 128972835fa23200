"""Documents are written as JSON lines with unique ids, and read back from disk to be encoded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest

from leafkit.errors import TextError, VectorError
from leafkit.index import documents as documents_module
from leafkit.index.documents import DocumentWriter, encode_documents, write_documents
from leafkit.search.documents import Document, DocumentFiles, Documents
from tests.fixtures.packages import SPACE, GivenVectors


def files_in(folder: Path) -> DocumentFiles:
    return DocumentFiles(
        lines=folder / "d.jsonl", offsets=folder / "o.npy", keys=folder / "k.npy", rows=folder / "r.npy"
    )


def written(folder: Path, ids: list[str]) -> Documents:
    return write_documents(files_in(folder), [Document(name, {"text": f"text of {name}"}) for name in ids])


def test_lines_are_json_in_utf8(tmp_path: Path) -> None:
    write_documents(files_in(tmp_path), [Document("\ud800", {"text": "é\n\u2028"}), Document("b", {})])
    lines = (tmp_path / "d.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line.decode("utf-8"))["id"] for line in lines[:-1]] == ["\ud800", "b"]


def test_ids_that_occur_twice_are_named(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"'a' \(document 3\), 'b' \(document 4\)"):
        written(tmp_path, ["a", "b", "a", "b", "c"])


def test_more_than_five_repeated_ids_are_counted(tmp_path: Path) -> None:
    ids = [f"id {i}" for i in range(100)]
    with pytest.raises(TextError, match=r"document ids must be unique.* and 95 more"):
        written(tmp_path, ids + ids)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), numpy.float32(1)])
def test_a_payload_that_is_not_json_raises_an_error_with_the_id(tmp_path: Path, value: object) -> None:
    with pytest.raises(TextError, match="payload of document 'x'"):
        write_documents(files_in(tmp_path), [Document("x", {"value": value})])


def test_copying_rows_equals_writing_them(tmp_path: Path) -> None:
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


class Recorder(GivenVectors):
    """Remembers the texts of each call."""

    def __init__(self, vectors: numpy.ndarray) -> None:
        super().__init__(vectors, SPACE)
        self.calls: list[tuple[list[str], str]] = []

    def encode(self, texts: list[str], role: str) -> numpy.ndarray:
        self.calls.append((list(texts), role))
        return super().encode(texts, role)


def test_documents_are_encoded_with_their_titles_in_order_and_in_blocks(
    tmp_path: Path, vectors: numpy.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents_module, "BLOCK", 2)
    titled = [Document("a", {"title": "On", "text": "lists"}), *(Document(f"{i}", {"text": f"t{i}"}) for i in range(4))]
    teacher = Recorder(vectors)
    blocks = list(encode_documents(write_documents(files_in(tmp_path), titled), teacher))
    assert teacher.calls == [
        (["On lists", "t0"], "document"),
        (["t1", "t2"], "document"),
        (["t3"], "document"),
    ]
    numpy.testing.assert_array_equal(numpy.concatenate(blocks), vectors[:5])


def test_an_invalid_vector_is_named_by_the_number_of_its_document(
    tmp_path: Path, vectors: numpy.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents_module, "BLOCK", 2)
    broken = vectors.copy()
    broken[3, 3] = numpy.nan
    with pytest.raises(VectorError, match="the documents' vectors: row 3"):
        list(encode_documents(written(tmp_path, list("abcde")), GivenVectors(broken, SPACE)))
