"""The old side: which texts and vectors an index or a vectors file gives."""

import json

import numpy
import pytest

from leafkit.errors import InputError, OptionError, SpaceError, VectorError
from leafkit.evaluation.upgrade.old import OldIndex, open_old
from leafkit.search.documents import Document
from leafkit.students.folder import read_student
from leafkit.vectors.cosine import row_cosines, unit_rows
from tests.evaluation.upgrade.spaces import drawn, texts_of, write_old
from tests.fixtures.packages import SPACE, drawn_vectors, index_vectors, update_vectors

VECTORS = drawn_vectors(120, 64)
PAYLOAD = [{"text": f"text number {row}", **({"title": "A title"} if row % 2 else {})} for row in range(120)]
TEXTS = [f"{payload.get('title', '')} {payload['text']}".strip() for payload in PAYLOAD]
IDS = [f"doc {row}" for row in range(120)]


def build(folder, **options):
    return index_vectors(IDS, VECTORS, SPACE, folder, payload=PAYLOAD, **options)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return build(tmp_path_factory.mktemp("index") / "docs.index")


def test_a_sample_has_the_vectors_of_its_texts(index):
    old = open_old(index, None)
    assert (old.documents, old.dim, old.space) == (120, 64, SPACE)
    pairs = old.sample("document", 50, seed=0)
    rows = [TEXTS.index(text) for text in pairs.texts]
    assert len(set(rows)) == 50
    assert row_cosines(pairs.vectors, VECTORS[rows]) == pytest.approx(numpy.ones(50), abs=1e-3)
    assert old.sample("document", 50, seed=0).texts == pairs.texts
    assert old.sample("document", 50, seed=1).texts != pairs.texts
    assert old.sample("query", 50, seed=0).texts == []


def test_documents_of_data_are_found_by_id_and_text(index):
    old = open_old(index, None)
    vectors = old.find_all(TEXTS[5:8], IDS[5:8], source="beir")
    assert row_cosines(vectors, VECTORS[5:8]) == pytest.approx(numpy.ones(3), abs=1e-3)
    with pytest.raises(VectorError, match=r"holds no vector of 2 of the 3 documents of beir\. The first is 'changed'"):
        old.find_all(["changed", TEXTS[6], TEXTS[7]], [IDS[5], IDS[6], "unknown"], source="beir")


def test_a_removed_document_is_not_there(tmp_path):
    folder = build(tmp_path / "docs.index")
    update_vectors(folder, remove=["doc 3"])
    old = open_old(folder, None)
    assert old.documents == 119
    assert TEXTS[3] not in old.sample("document", 120, seed=0).texts
    assert not old.find([TEXTS[3]], "document", ["doc 3"])[0].any()


def test_queries_of_a_rotated_and_truncated_index_are_rotated_and_truncated(tmp_path):
    old = open_old(build(tmp_path / "docs.index", rotate="pca", dim=32, precision="float32"), None)
    pairs = old.sample("document", 120, seed=0)
    assert pairs.vectors.shape == (120, 32)
    stored = old.stored(VECTORS)
    assert row_cosines(stored, pairs.vectors) == pytest.approx(numpy.ones(120), abs=1e-5)


def test_a_folded_index_is_refused(tmp_path, table_student):
    space = read_student(table_student).space
    vectors = drawn_vectors(120, space.dim)
    folder = index_vectors(IDS, vectors, space, tmp_path / "folded", payload=PAYLOAD, fold=table_student)
    with pytest.raises(OptionError, match="is folded for the student inside it, so no other encoder can search it"):
        open_old(folder, None)


@pytest.mark.parametrize("payload", [{"body": "other column"}, {"text": ""}, {"text": 7}])
def test_an_index_without_texts_is_refused(tmp_path, monkeypatch, index, payload):
    """leafkit writes no such index, but reads those of others."""
    old = open_old(index, None)
    assert isinstance(old, OldIndex)
    monkeypatch.setattr(type(old._documents), "__getitem__", lambda _self, row: Document(f"doc {row}", payload))
    with pytest.raises(InputError, match="holds no text of the document 'doc 0', and the new model cannot read"):
        old.sample("document", 120, seed=0)


def test_rows_of_a_file_with_the_role_query_are_logged_queries(tmp_path):
    roles = ["query" if row % 3 == 0 else "document" for row in range(120)]
    old = open_old(write_old(tmp_path / "old.npy", texts_of(120), VECTORS, roles), None)
    logged = old.sample("query", 100, seed=0)
    assert (old.documents, len(logged.texts)) == (80, 40)
    assert logged.texts == texts_of(120)[::3]
    assert logged.vectors == pytest.approx(unit_rows(VECTORS[::3]))
    found, vectors = old.find(["text number 3", "text number 4"], "query")
    assert found.tolist() == [True, False]
    assert vectors == pytest.approx(VECTORS[3:4])


def test_other_folders_and_files_are_refused(tmp_path):
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": "no vector"}))
    for path in (tmp_path, tmp_path / "texts.jsonl", tmp_path / "missing.parquet"):
        with pytest.raises(InputError, match="is neither an index nor a vectors file; expected a folder"):
            open_old(path, None)


def test_a_file_of_another_space_than_the_student_is_refused(tmp_path, table_student):
    path = write_old(tmp_path / "old.npy", texts_of(120), drawn(120, 32))
    with pytest.raises(SpaceError, match="was declared to belong to the space"):
        open_old(path, str(table_student))
