"""The verdict after a training says what was measured, and the commands below it can be run."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from leafkit.cli import app
from leafkit.teachers.options import TeacherOptions
from leafkit.training.verdict import BANDS, next_commands, verdict

STUDY = Path(__file__).resolve().parents[2] / "eval" / "results" / "held-out-cosine.md"


def training(cosine, *, texts=2000, step=10):
    best = {"step": step, "cosine_mean": cosine, "overlap_at_10": 0.7123}
    return {"start": {"step": 0, "cosine_mean": 0.8, "overlap_at_10": 0.5}, "best": best, "data": {"validation": texts}}


def test_the_bands_are_what_the_students_of_the_study_kept():
    page = STUDY.read_text(encoding="utf-8")
    students = [(float(c), float(r)) for c, r in re.findall(r"\| (\d\.\d{3}) \| ([\d.]+) % \|", page)]
    summary = re.findall(r"\| (\d+) \| ([\d.]+) to ([\d.]+) % \|", page)
    assert len(students) == sum(int(count) for count, _, _ in summary)
    above = 1.01
    for band, (count, low, high) in zip(BANDS, summary, strict=True):
        kept = [retention for cosine, retention in students if band.cosine <= cosine < above]
        assert (len(kept), min(kept), max(kept)) == (int(count), float(low), float(high))
        assert (band.low, band.high) == pytest.approx((min(kept) / 100, max(kept) / 100))
        above = band.cosine


@pytest.mark.parametrize(
    ("cosine", "words"),
    [
        (0.98, "cosine of 0.97 or more kept 96% to 98% of their teacher's nDCG@10."),
        (0.93, "cosine of 0.93 to 0.97 kept 93% to 98%"),
        (0.84, "cosine below 0.85 kept 0% to 92%"),
        (-0.1, "cosine below 0.85 kept"),
    ],
)
def test_a_verdict_names_the_students_with_a_like_cosine(cosine, words):
    said = verdict(training(cosine))
    assert words in said
    assert (
        f"On 2,000 held-out texts its cosine is {cosine:.3f} (0.800 before training) and its overlap@10 0.712" in said
    )


def test_few_texts_give_no_verdict():
    assert "199 held-out texts are too few to judge the student, 200 needed" in verdict(training(0.99, texts=199))


def test_a_training_that_did_not_help_is_said():
    assert "0.900 (that of the start: no step was nearer)" in verdict(training(0.9, step=0))


def parsed(text):
    """Return the parameters of each command in ``text`` as the command line reads them."""
    commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("  leafkit ")]
    return {words[1]: commands[words[1]].make_context(words[1], words[2:]).params for words in lines}


def test_the_next_commands_name_the_real_paths_and_options():
    options = TeacherOptions(query_prompt="search: ", normalised=False, max_length=64)
    texts = ["my docs.jsonl", "query:questions.txt", "sentences:my docs.jsonl", "document:more.csv"]
    found = parsed(next_commands(texts, "owner/model", Path("out dir/student"), options, exported=True))
    assert list(found) == ["evaluate", "index"]
    assert found["index"]["documents"] == ["my docs.jsonl", "more.csv"]
    assert str(found["index"]["out"]) == "out dir/student.index"
    for params in found.values():
        assert params["teacher"] == "owner/model"
        assert (params["query_prompt"], params["normalised"], params["max_length"]) == ("search: ", False, 64)
    assert list(found["evaluate"]["student"]) == ["out dir/student"]


def test_vectors_alone_cannot_be_measured_and_a_student_without_onnx_is_exported_first():
    text = next_commands(["query:q.txt"], "vectors.parquet", Path("s"), TeacherOptions(), exported=False)
    assert list(parsed(text)) == ["export", "index"]
    assert parsed(text)["index"]["documents"] == ["DOCUMENTS"]
