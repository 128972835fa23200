"""Scores are written into a card once, with the values of the result files."""

import json
from pathlib import Path

import pytest

from eval.card import insert_scores, scores
from leafkit.errors import InputError
from leafkit.evaluation.report import Report

RESULT = Path(__file__).resolve().parents[2] / "eval" / "results" / "scifact-nfcorpus.json"
CARD = "# a student\n\n## How near\n\ntext\n\n## Training\n\nmore\n"


@pytest.fixture(scope="module")
def report():
    return Report.from_json(json.loads(RESULT.read_bytes()))


def test_every_row_is_listed_with_its_interval_and_retention(report):
    section = scores([report])
    for row in report.rows:
        (line,) = (
            line for line in section.split("\n") if line.startswith(f"| {row.data} | {row.mode} ") and "nDCG" in line
        )
        assert f"{row.metrics[row.main]:.4f} [{row.interval.low:.4f}, {row.interval.high:.4f}]" in line
        if row.mode in ("standard", "asymmetric"):
            assert f" {row.retention:.1%} [" in line
        else:
            assert "%" not in line
    assert report.provenance.command.replace("../shared/data/", "") in section


def test_only_the_full_vectors_of_a_grid_are_listed():
    grid = Report.from_json(json.loads((RESULT.parent / "rotation-pca.json").read_bytes()))
    table = [line for line in scores([grid]).split("\n") if "nDCG" in line]
    whole = [row for row in grid.rows if (row.dim, row.precision) == (384, "float32")]
    assert 0 < len(whole) < len(grid.rows)
    assert len(table) == len(whole) + 2  # the teacher's mean and the student's


def test_scores_are_inserted_once_before_the_training(report):
    once = insert_scores(CARD, scores([report]))
    assert insert_scores(once, scores([report])) == once
    assert once.index("## Scores") < once.index("## Training")
    assert once.replace(scores([report]), "") == CARD
    with pytest.raises(InputError, match="## Training"):
        insert_scores("# a card of somebody else's", scores([report]))
