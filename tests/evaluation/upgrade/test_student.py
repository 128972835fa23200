"""A student of the old space as a way to keep the index."""

import pytest

import leafkit
from leafkit.errors import OptionError, SpaceError
from leafkit.evaluation.upgrade.old import open_old
from leafkit.evaluation.upgrade.student import train_old_student
from tests.fixtures.packages import SPACE, drawn_vectors, index_vectors


@pytest.fixture(scope="module")
def old(tmp_path_factory, tiny_teacher, tiny_texts):
    """The tiny teacher's vectors of a hundred queries and a hundred documents."""
    folder = tmp_path_factory.mktemp("old")
    return leafkit.embed(tiny_texts, tiny_teacher, folder / "old.parquet", cache=folder)


def test_a_student_that_is_the_old_model_finds_what_the_old_model_finds(old, exact_student, other_teacher, tmp_path):
    report = leafkit.upgrade(old, other_teacher, student=exact_student, cache=tmp_path)
    (student,) = (way for way in report.ways if way.way == "student")
    assert student.queries.overlap == pytest.approx(1, abs=0.005)  # the file holds float16
    assert student.documents.overlap == pytest.approx(1, abs=0.005)
    assert (report.verdict.way, report.student) == ("student", "exact")
    assert "take: student, because it keeps" in report.table()
    assert report.provenance.students["exact"]


def test_the_old_model_ranks_the_queries_if_it_still_answers(
    old, exact_student, tiny_teacher, other_teacher, tmp_path, sentences
):
    (tmp_path / "log.txt").write_text("\n".join(f"how to {text}" for text in sentences[:30]))
    asked = {"queries": tmp_path / "log.txt", "student": exact_student, "cache": tmp_path}
    report = leafkit.upgrade(old, other_teacher, old_teacher=str(tiny_teacher), **asked)
    (student,) = (way for way in report.ways if way.way == "student")
    assert report.counts.queries == 30
    assert student.queries.overlap == pytest.approx(1, abs=0.01)
    assert student.cost.query_milliseconds > 0


def test_a_student_of_another_space_is_refused(old, tmp_path_factory, other_teacher):
    from tests.fixtures.collections import make_student

    foreign = make_student(tmp_path_factory.mktemp("foreign") / "foreign", other_teacher, noise=0.0)
    with pytest.raises(SpaceError, match="foreign"):
        leafkit.upgrade(old, other_teacher, student=foreign)


def test_no_student_can_learn_from_a_truncated_index(tmp_path):
    ids = [f"doc {row}" for row in range(120)]
    folder = index_vectors(ids, drawn_vectors(120, 64), SPACE, tmp_path / "docs.index", dim=32)
    with pytest.raises(OptionError, match="holds rotated or truncated vectors, from which no student"):
        train_old_student(open_old(folder, None), "static", tmp_path / "student", examples=100)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "index"])
def test_a_student_is_distilled_within_its_budget(kind, old, tiny_teacher, other_teacher, sentences, tmp_path):
    if kind == "index":
        (tmp_path / "docs.txt").write_text("\n".join(sentences))
        old = leafkit.build_index(tmp_path / "docs.txt", tiny_teacher, tmp_path / "docs.index", cache=tmp_path)
    start = f"{tiny_teacher}:layers=1"
    options = {"train": start, "out": tmp_path / "student", "examples": 64, "cache": tmp_path}
    report = leafkit.upgrade(old, other_teacher, **options)
    (student,) = (way for way in report.ways if way.way == "student")
    assert (report.student, report.provenance.encoder) == ("student", "onnx-int8")
    assert student.documents.overlap > 0.2
    assert student.cost.training_seconds > 0
