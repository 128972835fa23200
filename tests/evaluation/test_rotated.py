"""A student with rotated coordinates is measured in them: only truncated vectors change their scores."""

import json

import numpy
import pytest

import leafkit
from leafkit.errors import SpaceError
from leafkit.evaluation.evaluate import evaluate


@pytest.fixture(scope="module")
def students(tmp_path_factory, tiny_teacher, tiny_texts):
    """Untrained students in the teacher's coordinates, in PCA coordinates and in random ones."""
    folder = tmp_path_factory.mktemp("rotated")
    for rotate in (None, "pca", "random"):
        how = {"epochs": 0, "rotate": rotate, "cache": folder / "cache", "export": False}
        leafkit.distill(tiny_texts, tiny_teacher, "teacher:layers=2", folder / str(rotate), **how)
    return folder


@pytest.fixture(scope="module")
def collection(tmp_path_factory, sentences):
    """Every sentence is a document; a query is a sentence without its first and last word."""
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


def test_a_rotation_does_not_change_the_scores_of_full_vectors(collection, tiny_teacher, students, tmp_path):
    plain = scores(collection, tiny_teacher, students / "None", tmp_path)
    for rotate in ("pca", "random"):
        turned = scores(collection, tiny_teacher, students / rotate, tmp_path)
        for mode in ("teacher", "standard", "asymmetric"):
            assert turned[mode, 32] == pytest.approx(plain[mode, 32], abs=0.02), mode


@pytest.mark.parametrize("order", [["None", "pca"], ["random", "pca"]])
def test_students_of_different_rotations_are_refused_together(collection, tiny_teacher, students, tmp_path, order):
    folders = [students / name for name in order]
    for teacher in (tiny_teacher, None):
        with pytest.raises(SpaceError, match=f"student pca uses the coordinates pca:.*, but {order[0]} uses"):
            evaluate([collection], teacher=teacher, student=folders, cache=tmp_path)


def test_truncated_pca_vectors_score_higher_than_truncated_random_ones(collection, tiny_teacher, students, tmp_path):
    found = {
        rotate: scores(collection, tiny_teacher, students / rotate, tmp_path, dims=[32, 8, 4])
        for rotate in ("pca", "random")
    }
    for mode in ("teacher", "asymmetric"):
        mean = {rotate: numpy.mean([found[rotate][mode, dim] for dim in (8, 4)]) for rotate in found}
        assert mean["pca"] > mean["random"], mode
