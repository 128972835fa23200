"""The weight is chosen by dev queries alone, as means over collections, and gains have paired intervals."""

from __future__ import annotations

import numpy
import pytest

from eval.hybrid import FUSIONS, STUDENT, TEACHER, Scores, chosen_weight, difference, results_of


def scores(best: float) -> Scores:
    """Two collections of 2 and 4 queries; the student scores best with the weight ``best``."""
    found: Scores = {}
    for who in (STUDENT, TEACHER):
        for fusion in FUSIONS:
            level = 0.4 if fusion == "rrf" else 0.6 - abs(best - float(fusion))
            found[who, fusion] = {"one": numpy.full(2, level + 0.1), "two": numpy.full(4, level)}
    return found


def test_the_weight_is_the_best_on_dev_queries_and_of_equal_ones_the_largest() -> None:
    assert chosen_weight(scores(0.7)) == 0.7
    assert chosen_weight(scores(0.45)) == 0.5
    assert results_of({"dev": scores(0.5), "test": scores(0.8)}, seed=0)["chosen"] == 0.5


def test_each_collection_weighs_the_same_in_a_difference() -> None:
    left = {"one": numpy.array([1.0, 1.0]), "two": numpy.array([0.0, 0.0, 0.0, 0.0])}
    right = {"one": numpy.array([0.0, 0.0]), "two": numpy.array([0.0, 0.0, 0.0, 0.0])}
    assert difference(left, right, seed=0) == {"mean": 0.5, "low": 0.5, "high": 0.5}


def test_results_name_gains_and_losses_by_collection() -> None:
    found = results_of({"dev": scores(0.6), "test": scores(0.6)}, seed=0)
    one = found["collections"]["one"]
    assert (one["dense"], one["bm25"], one["hybrid"]) == pytest.approx((0.3, 0.1, 0.7))
    assert (one["queries better"], one["queries worse"]) == (1.0, 0.0)
    assert found["hybrid student minus"]["student"]["mean"] == pytest.approx(0.4)
