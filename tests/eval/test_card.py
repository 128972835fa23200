"""Scores come into a card once, as they are in the result files."""

import json
from pathlib import Path

import pytest

from eval.card import put, scores
from leafkit.errors import InputError
from leafkit.evaluation.report import Report

RESULT = Path(__file__).resolve().parents[2] / "eval" / "results" / "scifact-nfcorpus.json"
CARD = "# a student\n\n## How near\n\ntext\n\n## Training\n\nmore\n"


@pytest.fixture(scope="module")
def report():
    return Report.from_json(json.loads(RESULT.read_bytes()))


def test_every_row_is_there_with_its_interval_and_retention(report):
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
    assert report.provenance.command in section


def test_of_a_grid_only_the_whole_vectors_are_there():
    grid = Report.from_json(json.loads((RESULT.parent / "rotation-pca.json").read_bytes()))
    table = [line for line in scores([grid]).split("\n") if "nDCG" in line]
    whole = [row for row in grid.rows if (row.dim, row.precision) == (384, "float32")]
    assert 0 < len(whole) < len(grid.rows)
    assert len(table) == len(whole) + 2  # the teacher's mean and the student's


def test_scores_stand_before_the_training_and_only_once(report):
    once = put(CARD, scores([report]))
    assert put(once, scores([report])) == once
    assert once.index("## Scores") < once.index("## Training")
    assert once.replace(scores([report]), "") == CARD
    with pytest.raises(InputError, match="## Training"):
        put("# a card of somebody else's", scores([report]))
