"""A student of rotated coordinates is measured in them: whole vectors score as ever, prefixes as rotated."""

import json

import numpy
import pytest

import leafkit
from leafkit.errors import SpaceError
from leafkit.evaluation.evaluate import evaluate


@pytest.fixture(scope="module")
def students(tmp_path_factory, tiny_teacher, tiny_texts):
    """The ridge start of one student in the teacher's coordinates, in pca's and in random ones."""
    folder = tmp_path_factory.mktemp("rotated")
    for rotate in (None, "pca", "random"):
        how = {"epochs": 0, "rotate": rotate, "cache": folder / "cache", "export": False}
        leafkit.distill(tiny_texts, tiny_teacher, "teacher:layers=2", folder / str(rotate), **how)
    return folder


@pytest.fixture(scope="module")
def collection(tmp_path_factory, sentences):
    """Every sentence is a document; a query is a sentence without its last word, or the other way round."""
    folder = tmp_path_factory.mktemp("beir")
    (folder / "qrels").mkdir()
    corpus = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(sentences)]
    queries = [{"_id": f"q{i}", "text": " ".join(sentences[i].split()[1:-1])} for i in range(60)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(60))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return folder


def scores(collection, teacher, student, cache, **grid):
    report = evaluate([collection], teacher=teacher, student=student, cache=cache, **grid)
    return {(row.mode, row.dim): row.metrics["ndcg@10"] for row in report.rows}


def test_whole_vectors_score_as_in_the_teachers_coordinates(collection, tiny_teacher, students, tmp_path):
    plain = scores(collection, tiny_teacher, students / "None", tmp_path)
    for rotate in ("pca", "random"):
        turned = scores(collection, tiny_teacher, students / rotate, tmp_path)
        for mode in ("teacher", "standard", "asymmetric"):
            assert turned[mode, 32] == pytest.approx(plain[mode, 32], abs=0.02), mode


@pytest.mark.parametrize("order", [["None", "pca"], ["random", "pca"]])
def test_students_of_two_rotations_are_measured_one_at_a_time(collection, tiny_teacher, students, tmp_path, order):
    folders = [students / name for name in order]
    for teacher in (tiny_teacher, None):
        with pytest.raises(SpaceError, match=f"student pca writes .* pca:.*, {order[0]} in .* one at a time"):
            evaluate([collection], teacher=teacher, student=folders, cache=tmp_path)


def test_prefixes_of_teacher_and_student_keep_what_the_rotation_gives_them(
    collection, tiny_teacher, students, tmp_path
):
    found = {
        rotate: scores(collection, tiny_teacher, students / rotate, tmp_path, dims=[32, 8, 4])
        for rotate in ("pca", "random")
    }
    for mode in ("teacher", "asymmetric"):
        mean = {rotate: numpy.mean([found[rotate][mode, dim] for dim in (8, 4)]) for rotate in found}
        assert mean["pca"] > mean["random"], mode
