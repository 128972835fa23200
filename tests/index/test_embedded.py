"""Documents with vectors need no teacher: a build and an update take the vectors from the file, and check them."""

import json

import numpy
import pytest
from pyarrow import parquet, table

import leafkit
from leafkit.errors import OptionError, SpaceError
from leafkit.index.embedded import embedded_file
from leafkit.teachers.open import open_teacher


@pytest.fixture(scope="module")
def vectors(sentences, tiny_teacher):
    return open_teacher(tiny_teacher, compute="float32").encode(sentences[:90], "document")


@pytest.fixture
def write(sentences, vectors, tmp_path):
    """Write rows of the sentences with their vectors, as another tool does: no space is recorded."""

    def write_rows(name, rows, values=vectors):
        columns = {"id": [f"doc-{row}" for row in rows], "text": [sentences[row] for row in rows]}
        parquet.write_table(table({**columns, "vector": list(values[rows])}), tmp_path / name)
        return tmp_path / name

    return write_rows


@pytest.fixture
def index(write, exported, tmp_path):
    return leafkit.build_index(write("day.parquet", range(60)), None, tmp_path / "docs.index", student=exported)


def test_a_nightly_file_is_added_without_flags(index, write, vectors, caplog):
    with caplog.at_level("INFO", logger="leafkit"):
        assert leafkit.update_index(index, add=str(write("night.parquet", range(60, 90)))).added == 30
    assert "taking the vectors of the added documents from" in caplog.text
    hits = leafkit.Searcher.open(index).search(vectors[[3, 70]], k=1)
    assert [found.ids for found in hits] == [["doc-3"], ["doc-70"]]
    assert [round(float(found.scores[0]), 4) for found in hits] == [1, 1]


@pytest.mark.parametrize("case", ["another model's", "of another width"])
def test_wrong_vectors_raise_and_change_nothing(index, write, vectors, case):
    turn = numpy.linalg.qr(numpy.random.default_rng(0).normal(size=(32, 32)))[0].astype(numpy.float32)
    wrong = {"another model's": vectors @ turn, "of another width": vectors[:, :8]}[case]
    night = write("night.parquet", range(60, 90), wrong)
    with pytest.raises(SpaceError, match=r"night\.parquet anew, name their model with --teacher\."):
        leafkit.update_index(index, add=night)
    assert len(leafkit.Searcher.open(index)) == 60


def test_a_file_that_records_its_space_needs_no_check(tiny_teacher, other_teacher, sentences, tmp_path):
    index = leafkit.build_index(_texts(tmp_path / "a.jsonl", sentences[:20]), tiny_teacher, tmp_path / "i")
    more = _texts(tmp_path / "b.jsonl", sentences[20:30])
    ours, theirs = (
        leafkit.embed(more, model, tmp_path / f"{model.name}.npy") for model in (tiny_teacher, other_teacher)
    )
    with pytest.raises(SpaceError, match=r"the teacher .*other-teacher\.npy does not belong"):
        leafkit.update_index(index, add=theirs)
    assert leafkit.update_index(index, add=ours).added == 10


def test_vectors_of_a_named_model_are_added_under_its_name(write, tmp_path):
    day, night = write("day.parquet", range(60)), write("night.parquet", range(60, 90))
    index = leafkit.build_index(day, None, tmp_path / "i", teacher_name="openai/small", query_prompt="ask: ")
    assert leafkit.update_index(index, add=night).added == 30


def test_an_index_without_name_and_student_asks_for_the_name(write, tmp_path):
    index = leafkit.build_index(write("day.parquet", range(60)), None, tmp_path / "i")
    with pytest.raises(OptionError, match=r"does not say which model made its vectors, .* \(--teacher-name\)\."):
        leafkit.update_index(index, add=write("night.parquet", range(60, 90)))


def test_texts_are_encoded_by_the_model_of_an_index_that_cannot_check_vectors(
    write, tiny_teacher, sentences, vectors, tmp_path, caplog
):
    index = leafkit.build_index(_texts(tmp_path / "a.jsonl", sentences[:20]), tiny_teacher, tmp_path / "i")
    leafkit.update_index(index, add=write("night.parquet", range(60, 90), -vectors))
    assert "its texts are encoded again" in caplog.text
    assert leafkit.Searcher.open(index).search(vectors[[70]], k=1)[0].ids == ["doc-70"]


def test_a_rotated_index_checks_with_the_student_of_its_build(write, exported, tmp_path):
    day, night = write("day.parquet", range(60)), write("night.parquet", range(60, 90))
    index = leafkit.build_index(day, None, tmp_path / "i", student=exported, rotate="pca")
    assert leafkit.update_index(index, add=night).added == 30


def test_documents_without_vectors_need_a_teacher(sentences, tmp_path):
    with pytest.raises(OptionError, match="no teacher is given, and the documents do not come with vectors"):
        leafkit.build_index(_texts(tmp_path / "a.jsonl", sentences[:5]), None, tmp_path / "i")


def test_only_one_file_with_vectors_is_a_teacher(write, tmp_path):
    file = write("a.parquet", range(3))
    assert embedded_file(file) == embedded_file([f"document:{file}"]) == file
    parquet.write_table(table({"text": ["a"]}), tmp_path / "texts.parquet")
    for other in (tmp_path / "texts.parquet", [file, file], f"query:{file}", tmp_path / "missing.parquet", []):
        assert embedded_file(other) is None


def _texts(path, texts):
    path.write_text("".join(json.dumps({"id": text, "text": text}) + "\n" for text in texts))
    return path
