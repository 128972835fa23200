"""The field `effort` of /search, and the students of an index in /info."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from leafkit.errors import DamageError
from leafkit.search.query_encoder import QueryEncoder
from leafkit.search.searcher import Searcher
from tests.serve.conftest import client_of, message

TEXTS = ["copy a file", "git commit branch 3", "kill process 12"]


@pytest.fixture(scope="module")
def served(ladder: Path) -> Iterator[Any]:
    """A client of the server of the ladder."""
    with client_of(ladder) as client:
        yield client


def hits(client: Any, text: str, **fields: Any) -> list[tuple[str, float]]:
    answer = client.post("/search", json={"query": text, **fields})
    assert answer.status_code == 200, answer.text
    return [(hit["id"], hit["score"]) for hit in answer.json()["hits"]]


def test_requests_of_all_efforts_at_once_have_the_hits_that_each_has_alone(served: Any, ladder: Path) -> None:
    searcher = Searcher.open(ladder)
    asked = [(text, effort) for text in TEXTS for effort in ("table", "full", None)] * 3
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda pair: hits(served, pair[0], effort=pair[1]), asked))
    for (text, effort), answer in zip(asked, answers, strict=True):
        alone = searcher.search(text, effort=effort)
        assert answer == list(zip(alone.ids, alone.scores.tolist(), strict=True)), (text, effort)
    assert answers[0] != answers[1] == answers[2]


def test_an_effort_that_the_index_lacks_is_refused(served: Any) -> None:
    wrong = {"best": "expected one of table, full", 3: "effort is 3", "teacher": "without its teacher"}
    for effort, said in wrong.items():
        assert said in message(served.post("/search", json={"query": "a", "effort": effort}), 422)
    vector = {"vector": [1.0] * 32, "effort": "full"}
    assert "a vector is given" in message(served.post("/search", json=vector), 422)


def test_info_names_the_students(served: Any, ladder: Path) -> None:
    efforts = served.get("/info").json()["indexes"]["ladder"]["efforts"]
    sizes = {name: sum(f.stat().st_size for f in (ladder / name).rglob("*.*")) for name in ("encoder", "encoder-table")}
    assert efforts == {
        "table": {"student": "table", "layers": 0, "bytes": sizes["encoder-table"]},
        "full": {"student": "student", "layers": 2, "bytes": sizes["encoder"]},
    }
    assert list(efforts) == ["table", "full"]
    assert "effort" in served.get("/info").json()["search_fields"]


def test_the_teacher_answers_where_the_server_was_told_how_to_open_it(ladder: Path, table_student: Path) -> None:
    folders: list[Path] = []

    def open_teacher(folder: Path) -> QueryEncoder:
        folders.append(folder)
        return QueryEncoder.open(table_student)

    with client_of(ladder, teacher=open_teacher) as client:
        assert client.get("/info").json()["indexes"]["ladder"]["efforts"]["teacher"] == {}
        assert folders == []
        assert hits(client, "copy a file", effort="teacher") == hits(client, "copy a file", effort="table")
        hits(client, "git", effort="teacher")
    assert folders == [ladder]


def test_a_teacher_that_cannot_be_opened_is_explained_in_the_log(
    ladder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def open_teacher(folder: Path) -> QueryEncoder:
        raise DamageError("the teacher's file is truncated.")

    with client_of(ladder, teacher=open_teacher) as client:
        answer = client.post("/search", json={"query": "a", "effort": "teacher"})
        assert "the server's log says why" in message(answer, 503)
    assert "a request to /search failed: the teacher's file is truncated." in caplog.text
