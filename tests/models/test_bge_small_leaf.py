"""The student that ships: small, close to its teacher, usable by name, with a card that states the measured scores."""

import json
from pathlib import Path

import numpy
import pytest

import leafkit
from eval.card import scores
from leafkit.evaluation.report import Report
from leafkit.models.help_pages import write_help_pages, write_page_vectors
from leafkit.search.searcher import Searcher
from leafkit.shipped import resolve_student
from leafkit.students.spec import Pretrained
from leafkit.training.source import open_source

NAME = "bge-small-leaf"
RESULTS = Path(__file__).resolve().parents[2] / "eval" / "results"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return write_help_pages(tmp_path_factory.mktemp("help") / "help")


@pytest.fixture(scope="module")
def vectors(pages):
    return write_page_vectors(pages, pages.folder.parent / "bge-small.npy")


def test_its_files_are_complete_and_at_most_26_mebibytes():
    files = [path for path in resolve_student(NAME).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 26 * 2**20
    facts = leafkit.info(NAME)
    assert facts["kind"] == "student"
    assert facts["weights"].startswith("int8 ONNX; `leafkit export bge-small-leaf --out FOLDER` writes")


def test_its_vectors_of_held_out_questions_are_close_to_the_teachers(vectors):
    rows = [json.loads(line) for line in vectors.with_suffix(".jsonl").read_text().splitlines()]
    teacher = numpy.load(vectors).astype(numpy.float32)[1000:1200]
    student = leafkit.QueryEncoder.open(NAME).encode([row["text"] for row in rows[1000:1200]], "query")
    assert (student * teacher).sum(axis=1).mean() > 0.9


def test_it_can_be_restored_for_further_training(vectors):
    questions = [json.loads(line)["text"] for line in vectors.with_suffix(".jsonl").read_text().splitlines()[1000:1020]]
    restored = open_source(Pretrained(source=NAME), None).encode(questions, prompt_name="query")
    assert (restored * leafkit.QueryEncoder.open(NAME).encode(questions, "query")).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("how", [{"student": NAME}, {"fold": NAME, "dim": 192, "precision": "int8"}], ids=str)
def test_it_searches_vectors_made_by_another_program(pages, vectors, tmp_path, how):
    index = leafkit.build_index(pages.folder, vectors, tmp_path / "index", teacher_space=NAME, **how)
    hits = Searcher.open(index).search("undo the last commit", k=10)
    assert any("git" in payload["title"] for payload in hits.payload)
    assert len(hits) == 10


def test_its_card_states_the_measured_scores():
    card = (resolve_student(NAME) / "README.md").read_text(encoding="utf-8")
    files = sorted(RESULTS.glob(f"{NAME}*.json"))
    assert files
    assert scores([Report.from_json(json.loads(file.read_bytes())) for file in files]).strip() in card
    for part in ("MIT", "## Training", "## Limits", "leafkit distill"):
        assert part in card
