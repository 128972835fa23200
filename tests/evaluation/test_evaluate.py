from __future__ import annotations

import json
import shutil
import sys

import pytest

import leafkit
from leafkit.errors import InputError, MissingExtraError, OptionError, SpaceError
from leafkit.evaluation.evaluate import evaluate
from leafkit.teachers.open import open_teacher
from tests.fixtures.copies import copy_model, half, tuned


class Counting:
    """A teacher that counts the texts that it encodes."""

    def __init__(self, teacher):
        self._teacher = teacher
        self.space = teacher.space
        self.signals = teacher.signals
        self.texts = 0

    def encode(self, texts, role):
        self.texts += len(texts)
        return self._teacher.encode(texts, role)


def test_all_modes_are_measured_with_their_retention(beir_folder, tiny_teacher, noisy_student):
    report = leafkit.evaluate(beir_folder, teacher=tiny_teacher, student=noisy_student)
    assert [row.mode for row in report.rows] == ["teacher", "standard", "asymmetric"]
    assert [row.student for row in report.rows] == [None, "noisy", "noisy"]
    assert report.rows[0].retention == 1.0
    assert report.rows[1].retention < 0.9


def test_the_teacher_encodes_each_text_once_over_all_evaluations(beir_folder, tiny_teacher, exact_student):
    teacher = Counting(open_teacher(tiny_teacher, compute="float32"))
    first = evaluate(beir_folder, teacher=teacher)
    assert teacher.texts == 230
    again = evaluate(beir_folder, teacher=teacher, student=exact_student, dims=[32, 8])
    assert teacher.texts == 230
    assert again.rows[0].metrics == first.rows[0].metrics


def test_a_student_without_a_teacher_has_no_retention(beir_folder, noisy_student):
    (row,) = evaluate(beir_folder, student=noisy_student).rows
    assert (row.mode, row.retention, row.of_full) == ("standard", None, None)


def test_several_students_have_rows_of_their_own(beir_folder, tiny_teacher, exact_student, noisy_student, tmp_path):
    same_name = shutil.copytree(exact_student, tmp_path / "noisy")
    report = evaluate(beir_folder, teacher=tiny_teacher, student=[noisy_student, same_name], modes=["asymmetric"])
    assert [row.mode for row in report.rows] == ["asymmetric"] * 2
    assert [row.student.split("/")[-1] for row in report.rows] == ["noisy", "noisy"]
    assert len({row.student for row in report.rows}) == 2
    assert report.rows[0].metrics != report.rows[1].metrics


def test_a_student_of_another_teacher_is_refused(beir_folder, other_teacher, exact_student):
    with pytest.raises(SpaceError, match=r"other-teacher does not belong to the vector space of .*exact: weights is"):
        evaluate(beir_folder, teacher=other_teacher, student=exact_student)


def test_another_copy_of_the_teacher_is_measured_as_the_teacher(beir_folder, tiny_teacher, exported, tmp_path):
    copy = copy_model(tiny_teacher, tmp_path / "copy", half, prompts={})
    cells = {"student": exported, "dims": [32, 8]}
    left, right = (evaluate(beir_folder, teacher=teacher, **cells).rows for teacher in (tiny_teacher, copy))
    assert [row.mode for row in right] == [row.mode for row in left]
    for one, other in zip(left, right, strict=True):
        assert other.metrics["ndcg@10"] == pytest.approx(one.metrics["ndcg@10"], abs=0.02)
    with pytest.raises(SpaceError, match="does not write the vectors of the student"):
        evaluate(beir_folder, teacher=copy_model(tiny_teacher, tmp_path / "tuned", tuned), student=exported)


def test_a_student_is_refused_as_the_teacher(beir_folder, exact_student):
    with pytest.raises(OptionError, match="the teacher is a student, or vectors by a student"):
        evaluate(beir_folder, teacher=exact_student)


def test_a_file_of_document_vectors_suffices_as_teacher_for_the_asymmetric_mode(
    beir_folder, tiny_teacher, exact_student, tmp_path
):
    leafkit.embed(beir_folder, tiny_teacher, tmp_path / "documents.parquet")
    options = {"student": exact_student, "precisions": ["float32", "int8"]}
    rows = evaluate(beir_folder, teacher=tmp_path / "documents.parquet", **options).rows
    assert [(row.mode, row.precision) for row in rows] == [
        ("standard", "float32"),
        ("asymmetric", "float32"),
        ("standard", "int8"),
        ("asymmetric", "int8"),
    ]
    both = evaluate(beir_folder, teacher=tiny_teacher, **options).rows
    assert rows[1].metrics["ndcg@10"] == pytest.approx(both[2].metrics["ndcg@10"], abs=0.01)


def test_folders_of_the_same_name_get_distinct_names(beir_folder, tiny_teacher, tmp_path):
    other = shutil.copytree(beir_folder, tmp_path / "other" / "tiny")
    report = evaluate([beir_folder, other], teacher=tiny_teacher)
    assert report.rows[1].data == "other/tiny"
    assert report.rows[0].metrics == report.rows[1].metrics
    assert [source["name"] for source in report.provenance.data] == [row.data for row in report.rows]


def test_means_over_folders_are_means_of_their_rows(beir_folder, other_beir_folder, tiny_teacher, noisy_student):
    folders, precisions = [beir_folder, other_beir_folder], ["float32", "int8"]
    report = evaluate(folders, teacher=tiny_teacher, student=noisy_student, precisions=precisions)
    (means,) = report.means
    assert means.collections == ("tiny", "other")
    assert len(means.rows) == 6
    for mean, first, second in zip(means.rows, report.rows[:6], report.rows[6:], strict=True):
        assert (mean.mode, mean.precision) == (first.mode, first.precision)
        assert mean.retention == pytest.approx((first.retention + second.retention) / 2)
        assert mean.retention_interval.low <= mean.retention <= mean.retention_interval.high
    assert "mean over 2 collections" in report.table().split("\n\n")[-2]
    assert evaluate(beir_folder, teacher=tiny_teacher).means == ()


def test_the_seed_decides_the_intervals_of_means(beir_folder, other_beir_folder, tiny_teacher):
    folders = [beir_folder, other_beir_folder]
    spans = [evaluate(folders, teacher=tiny_teacher, seed=seed).means[0].rows[0].interval for seed in (0, 1, 1)]
    assert spans[0] != spans[1] == spans[2]


def test_rows_and_provenance_give_the_size_of_a_subset(beir_folder, tiny_teacher):
    report = evaluate(beir_folder, teacher=tiny_teacher, documents=100)
    assert report.rows[0].documents == 100
    assert report.provenance.data[0]["documents"] == "100 of 200"
    assert evaluate(beir_folder, teacher=tiny_teacher, documents=500).provenance.data[0]["documents"] == "200 of 200"
    assert "documents" not in evaluate(beir_folder, teacher=tiny_teacher).provenance.data[0]


def test_the_same_options_and_seed_give_the_same_report(beir_folder, tiny_teacher, noisy_student):
    first, second = (evaluate(beir_folder, teacher=tiny_teacher, student=noisy_student, seed=3) for _ in range(2))
    assert first == second
    assert evaluate(beir_folder, teacher=tiny_teacher, seed=4).rows[0].interval != first.rows[0].interval


def test_the_report_has_the_provenance_of_its_figures(beir_folder, tiny_teacher, exact_student, noisy_student):
    source = evaluate(beir_folder, teacher=tiny_teacher, student=[exact_student, noisy_student], seed=5).provenance
    assert source.space["id"] == open_teacher(tiny_teacher).space.id
    assert source.seed == 5
    assert source.leafkit == leafkit.__version__
    assert len(set(source.students.values())) == 2
    assert (source.data[0]["name"], source.data[0]["split"]) == ("tiny", "test")
    assert len(source.data[0]["sha256"]) == 64
    assert source.packages["pytrec-eval-terrier"]
    json.dumps(evaluate(beir_folder, teacher=tiny_teacher).to_json(), allow_nan=False)


def test_the_report_has_the_learning_curve_of_every_trained_student(beir_folder, exported, exact_student):
    curves = evaluate(beir_folder, student=[exported, exact_student]).curves
    start = json.loads((exported / "leafkit.json").read_text())["training"]["start"]
    assert [(name, [one.cosine for one in curve]) for name, curve in curves.items()] == [
        (exported.name, [start["cosine_mean"]])
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"dims": [33]}, "dim is 33; expected 1 to 32"),
        ({"precisions": ["int2"]}, "unknown precision 'int2'; expected one of float32"),
        ({"modes": ["asymmetric"]}, "the mode asymmetric needs a student, but none is given"),
        ({"split": "dev"}, "no judgements for the split 'dev'; expected one of: test"),
        ({"encoder": "tflite", "student": "x"}, "unknown encoder 'tflite'; expected one of torch, onnx, onnx-int8"),
    ],
)
def test_unknown_values_are_refused(beir_folder, tiny_teacher, options, problem):
    with pytest.raises(OptionError, match=problem):
        evaluate(beir_folder, teacher=tiny_teacher, **options)


def test_missing_data_and_missing_models_are_refused(beir_folder, tiny_teacher):
    with pytest.raises(InputError, match="nothing to measure on: no folder in BEIR's layout and no MTEB task"):
        evaluate(teacher=tiny_teacher)
    with pytest.raises(InputError, match="nothing to measure: no teacher and no student is given"):
        evaluate(beir_folder)


def test_an_invalid_folder_is_refused_before_a_model_is_loaded(tmp_path):
    with pytest.raises(OptionError, match="not a folder in BEIR's layout"):
        evaluate(tmp_path, teacher="no-such-teacher")


@pytest.mark.parametrize(("package", "options"), [("bm25s", {"bm25": True}), ("beir", {"cross_check": True})])
def test_a_missing_package_is_found_before_a_model_is_loaded(beir_folder, monkeypatch, package, options):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=package):
        evaluate(beir_folder, teacher="no-such-teacher", **options)


def test_the_cross_check_adds_beirs_ndcg_to_float32_rows(beir_folder, tiny_teacher):
    pytest.importorskip("beir")
    rows = evaluate(beir_folder, teacher=tiny_teacher, precisions=["float32", "int8"], cross_check=True).rows
    assert rows[0].beir_ndcg == pytest.approx(rows[0].metrics["ndcg@10"], abs=5.1e-6)
    assert rows[1].beir_ndcg is None


def test_an_exported_student_scores_like_the_trained_one(beir_folder, tiny_teacher, noisy_student, tmp_path):
    pytest.importorskip("onnxscript")
    student = shutil.copytree(noisy_student, tmp_path / "shipped")
    leafkit.export(student)
    exact = {"compute": "float32"}
    results = {
        encoder: evaluate(beir_folder, teacher=tiny_teacher, student=student, encoder=encoder, **exact).rows
        for encoder in ("torch", "onnx", "onnx-int8")
    }
    for row, same, close in zip(*results.values(), strict=True):
        assert row.metrics["recall@100"] == pytest.approx(same.metrics["recall@100"], abs=0.01)
        assert row.metrics["ndcg@10"] == pytest.approx(same.metrics["ndcg@10"], abs=0.01)
        assert row.metrics["recall@100"] == pytest.approx(close.metrics["recall@100"], abs=0.1)
