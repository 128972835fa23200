"""The students that ship: small, close to their teacher, usable by name, with cards that state the measured scores."""

import json
from pathlib import Path

import numpy
import pytest

import leafkit
from eval.card import scores
from leafkit.evaluation.report import Report
from leafkit.models.help_pages import write_help_pages, write_page_vectors
from leafkit.search.searcher import Searcher
from leafkit.shipped import resolve_student, shipped_students
from leafkit.students.spec import Pretrained
from leafkit.training.source import open_source

NAME = "bge-small-leaf"
# For each student the most mebibytes, the least cosine of held-out questions, and its result files.
STUDENTS = {
    NAME: (26, 0.9, "bge-small-leaf*.json"),
    "bge-small-leaf-3-layers": (20, 0.88, "ladder-3-layers.json"),
    "bge-small-leaf-table": (15, 0.8, "ladder-table.json"),
}
MODELS = Path(__file__).resolve().parents[2] / "models"
RESULTS = Path(__file__).resolve().parents[2] / "eval" / "results"
each = pytest.mark.parametrize("name", STUDENTS)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return write_help_pages(tmp_path_factory.mktemp("help") / "help")


@pytest.fixture(scope="module")
def vectors(pages):
    return write_page_vectors(pages, pages.folder.parent / "bge-small.npy")


def bytes_in(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def test_these_students_ship_and_all_that_ships_is_at_most_60_mebibytes():
    assert shipped_students() == sorted(STUDENTS)
    assert bytes_in(MODELS) <= 60 * 2**20


@each
def test_its_files_are_complete_and_small(name):
    assert bytes_in(resolve_student(name)) <= STUDENTS[name][0] * 2**20
    facts = leafkit.info(name)
    assert facts["kind"] == "student"
    assert facts["weights"].startswith(f"int8 ONNX; `leafkit export {name} --out FOLDER` writes")


@each
def test_its_vectors_of_held_out_questions_are_close_to_the_teachers(name, vectors):
    rows = [json.loads(line) for line in vectors.with_suffix(".jsonl").read_text().splitlines()]
    teacher = numpy.load(vectors).astype(numpy.float32)[1000:1200]
    student = leafkit.QueryEncoder.open(name).encode([row["text"] for row in rows[1000:1200]], "query")
    assert (student * teacher).sum(axis=1).mean() > STUDENTS[name][1]


@each
def test_it_can_be_restored_for_further_training(name, vectors):
    questions = [json.loads(line)["text"] for line in vectors.with_suffix(".jsonl").read_text().splitlines()[1000:1020]]
    restored = open_source(Pretrained(source=name), None).encode(questions, prompt_name="query")
    assert (restored * leafkit.QueryEncoder.open(name).encode(questions, "query")).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("how", [{"student": NAME}, {"fold": NAME, "dim": 192, "precision": "int8"}], ids=str)
def test_it_searches_vectors_made_by_another_program(pages, vectors, tmp_path, how):
    index = leafkit.build_index(pages.folder, vectors, tmp_path / "index", teacher_space=NAME, **how)
    hits = Searcher.open(index).search("undo the last commit", k=10)
    assert any("git" in payload["title"] for payload in hits.payload)
    assert len(hits) == 10


def test_all_of_them_search_one_index(pages, vectors, tmp_path):
    index = leafkit.build_index(pages.folder, vectors, tmp_path / "index", teacher_space=NAME, student=[*STUDENTS])
    searcher = Searcher.open(index)
    assert searcher.efforts == ("table", "small", "full")
    for effort in searcher.efforts:
        found = searcher.search("undo the last commit", effort=effort)
        assert any("git" in payload["title"] for payload in found.payload), effort


@each
def test_its_card_states_the_measured_scores(name):
    card = (resolve_student(name) / "README.md").read_text(encoding="utf-8")
    files = sorted(RESULTS.glob(STUDENTS[name][2]))
    assert files
    assert scores([Report.from_json(json.loads(file.read_bytes())) for file in files]).strip() in card
    for part in ("MIT", "## Training", "## Limits", "leafkit distill"):
        assert part in card
