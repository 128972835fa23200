"""`leafkit.shadow`: which encoders are compared, over which queries, and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest

import leafkit
from leafkit.errors import InputError, OptionError, TextError
from leafkit.evaluation.shadow.page import page
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from leafkit.students.folder import read_student
from tests.fixtures.packages import drawn_vectors, index_vectors


class Letters:
    """A teacher that counts letters."""

    signals = frozenset({"embeddings", "online"})

    def __init__(self, space: Space) -> None:
        self.space = space

    def encode(self, texts: Sequence[str], role: str) -> numpy.ndarray:
        rows = numpy.zeros((len(texts), self.space.dim), dtype=numpy.float32)
        for row, text in zip(rows, texts, strict=True):
            numpy.add.at(row, [ord(letter) % self.space.dim for letter in text], 1)
        return rows


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes lines into a file."""

    def write(lines: Iterable[str], name: str = "queries.txt") -> Path:
        content = "".join(f"{line}\n" for line in lines).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return tmp_path / name

    return write


def test_the_overlap_is_that_of_two_searches(
    ladder: Path, table_student: Path, exported: Path, sentences: list[str], written: Callable[..., Path]
) -> None:
    texts = sentences[:12]
    found = leafkit.shadow(ladder, written(["", *texts[:6], "  \t", *texts[6:]], "queries.txt.gz"))
    tried, reference = (Searcher.open(ladder, encoder=one).search(texts) for one in (table_student, exported))
    overlaps = [len({*one.ids} & {*other.ids}) / 10 for one, other in zip(tried, reference, strict=True)]
    assert found.overlap == pytest.approx(numpy.mean(overlaps))
    assert (found.tried.effort, found.tried.name, found.reference.effort) == ("table", "table", "full")
    assert (found.queries, found.blank, found.documents, found.depth) == (12, 2, 100, 10)
    assert {one.query: one.overlap for one in found.worst} == pytest.approx(dict(zip(texts, overlaps, strict=True)))
    assert found.tried.median > 0


def test_queries_may_be_any_texts_and_the_efforts_are_chosen(ladder: Path, exported: Path) -> None:
    teacher = Letters(read_student(exported).space)
    found = leafkit.shadow(
        ladder, (text for text in ("copy a file", "")), between=["teacher", "table"], teacher=teacher
    )
    assert (found.tried.effort, found.tried.name) == ("teacher", teacher.space.teacher)
    assert (found.reference.effort, found.queries, found.blank) == ("table", 1, 1)
    alone = Searcher.open(ladder, encoder=teacher).search("copy a file")
    assert [hit.id for hit in found.worst[0].tried] == alone.ids


def test_an_only_student_is_compared_with_the_teacher(exported: Path, tmp_path: Path) -> None:
    space = read_student(exported).space
    index = index_vectors(["a", "b"], drawn_vectors(2, space.dim), space, tmp_path / "i", student=exported)
    found = leafkit.shadow(index, ["copy a file"], teacher=Letters(space))
    assert (found.tried.effort, found.reference.effort, found.depth, found.overlap) == ("full", "teacher", 2, 1)
    with pytest.raises(OptionError, match="does not record the teacher"):
        leafkit.shadow(index, ["copy a file"])


@pytest.mark.parametrize(
    ("queries", "options", "error", "message"),
    [
        ("absent.txt", {}, InputError, r"absent\.txt does not exist\. Give a file with one query per line"),
        (".", {}, TextError, "cannot read the file"),
        (["\n", "  "], {}, InputError, "2 blank lines and no query"),
        ([], {}, InputError, "0 blank lines and no query"),
        (["a", 3], {}, OptionError, "query 2 is 3; expected a text"),
        (["a"], {"between": ["table", "best"]}, OptionError, "no effort 'best'; expected two of table, full, teacher"),
        (["a"], {"between": ["full", "full"]}, OptionError, "expected two different ones of table, full, teacher"),
        (["a"], {"between": ["full"]}, OptionError, "between is full; expected two different ones"),
        (["a"], {"between": ["table", "full", "teacher"]}, OptionError, "expected two different ones"),
        (["a"], {"worst": -1}, OptionError, "worst is -1"),
        (["a"], {"wurst": 1}, OptionError, "did you mean 'worst'"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused(
    ladder: Path, queries: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        leafkit.shadow(ladder, queries, **options)


def test_bytes_that_are_no_text_are_refused_with_their_line(ladder: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("good\nschön\n".encode("latin-1"))
    with pytest.raises(TextError, match=r"latin\.txt:2: the row holds the byte 0xf6; expected UTF-8"):
        leafkit.shadow(ladder, tmp_path / "latin.txt")


def test_an_index_without_a_student_is_refused(exported: Path, tmp_path: Path) -> None:
    space = read_student(exported).space
    index = index_vectors(["a"], drawn_vectors(1, space.dim), space, tmp_path / "i")
    with pytest.raises(OptionError, match="built without a student, so nothing can be compared with its teacher"):
        leafkit.shadow(index, ["a"])


def test_an_index_without_documents_is_refused(exported: Path, tmp_path: Path) -> None:
    space = read_student(exported).space
    index = index_vectors([], drawn_vectors(0, space.dim), space, tmp_path / "empty", student=exported)
    with pytest.raises(InputError, match="holds no documents"):
        leafkit.shadow(index, ["a"])


def test_the_page_shows_everything_and_runs_nothing(exported: Path, table_student: Path, tmp_path: Path) -> None:
    space, evil = read_student(exported).space, "<script>alert(1)</script>"
    index = index_vectors(
        [f"<b>{row}" for row in range(12)],
        drawn_vectors(12, space.dim),
        space,
        tmp_path / "evil.index",
        payload=[{"text": f"<img src=x onerror=alert({row})>"} for row in range(12)],
        student=[exported, table_student],
    )
    found = leafkit.shadow(index, [evil, "copy a file & more"])
    shown = page(found)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "copy a file &amp; more" in shown
    assert "<script" not in shown
    assert "<img" not in shown
    assert "<b>&lt;b&gt;" in shown
    assert "default-src 'none'" in shown.replace("&#x27;", "'")
    assert "http" not in shown.replace("http-equiv", "")
    assert f"overlap@10</dt><dd><strong>{found.overlap:.1%}" in shown
    assert json.loads(json.dumps(found.to_json()))["worst"][0]["query"] in (evil, "copy a file & more")
