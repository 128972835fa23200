"""An index of the quickstart's help pages, with their true vectors and the student that ships."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from leafkit.search.query_encoder import QueryEncoder
from leafkit.search.searcher import Searcher
from leafkit.shipped import resolve_student
from leafkit.space import Space
from tests.fixtures.blocks import ROOT, blocks
from tests.fixtures.packages import index_vectors

STUDENT = "bge-small-leaf"
QUERY = "copy a folder to another machine"


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand help pages with their platform as a column. No test changes it."""
    shipped = ROOT / "models" / "quickstart"
    with gzip.open(shipped / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        pages = [json.loads(line) for line in file]
    ids = [page.pop("_id") for page in pages]
    payload = [{**page, "platform": name.split("/")[1]} for name, page in zip(ids, pages, strict=True)]
    vectors = numpy.load(shipped / "bge-small.npy")[: len(ids)].astype(numpy.float32)
    facts = json.loads((resolve_student(STUDENT) / "leafkit.json").read_text(encoding="utf-8"))
    space = Space.from_json(facts["space"])
    out = tmp_path_factory.mktemp("pages") / "pages.index"
    return index_vectors(ids, vectors, space, out, payload=payload, student=resolve_student(STUDENT))


@pytest.fixture(scope="session")
def searcher(index: Path) -> Searcher:
    """The index, open."""
    return Searcher.open(index)


@pytest.fixture
def in_folder(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which the index is called docs.index as in the documentation."""
    (tmp_path / "docs.index").symlink_to(index)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def page(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], dict[str, Any]]:
    """A function that runs the block of docs/integrations.md with a given word; gives its names and what it printed."""

    def run(word: str) -> dict[str, Any]:
        (block,) = [
            one for one in blocks([ROOT / "docs" / "integrations.md"]) if one.language == "py" and word in one.code
        ]
        names: dict[str, Any] = {}
        exec(compile(block.code, str(block), "exec"), names)
        return {**names, "printed": capsys.readouterr().out.splitlines()}

    return run


@pytest.fixture(scope="session")
def encoder() -> QueryEncoder:
    """The student that ships, opened beside the frameworks."""
    return QueryEncoder.open(STUDENT)
