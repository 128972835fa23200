"""Bridges: exact where the spaces are, and never fitted on what they map."""

import numpy
import pytest

from leafkit.errors import InputError
from leafkit.evaluation.upgrade.bridge import FEWEST_TEXTS, FOLDS, draw_folds, fit_bridge, usable_rows
from leafkit.students.head import fit_head
from leafkit.vectors.cosine import row_cosines
from tests.evaluation.upgrade.spaces import drawn, rotation, texts_of

EVERY = numpy.ones(300, dtype=bool)
FOLDS_OF_300 = draw_folds(texts_of(300), 0)


def test_a_rotation_is_found_exactly():
    source, turn = drawn(300), rotation()
    bridge = fit_bridge(source, source @ turn, FOLDS_OF_300, usable=EVERY, seed=0)
    others = drawn(50, seed=7)
    assert row_cosines(bridge.apply(others), others @ turn) == pytest.approx(numpy.ones(50), abs=1e-5)


def test_each_text_is_mapped_by_a_fit_without_its_fold():
    """The rival is the plain ridge head on the rows of the other folds."""
    source, target, folds = drawn(300), drawn(300, 8, seed=2), FOLDS_OF_300
    mapped = fit_bridge(source, target, folds, usable=EVERY, seed=0).apply_held_out(source, folds)
    for fold in range(FOLDS):
        rival = fit_head(source[folds != fold], target[folds != fold], seed=0)
        assert mapped[folds == fold] == pytest.approx(rival.apply(source[folds == fold]))


def test_held_out_texts_cannot_be_learned_by_heart():
    """Targets without any relation to the sources are reproduced by a fit that saw them, and by no other."""
    source, target, folds = drawn(300, 200), drawn(300, 200, seed=2), FOLDS_OF_300
    bridge = fit_bridge(source, target, folds, usable=EVERY, seed=0)
    assert row_cosines(bridge.apply(source), target).mean() > 0.15
    assert abs(row_cosines(bridge.apply_held_out(source, folds), target).mean()) < 0.02


def test_measured_texts_are_in_no_fit():
    source, target, folds = drawn(300), drawn(300, seed=2), FOLDS_OF_300
    usable = usable_rows([f"text {row}" for row in range(300)], ["text 7", "text 250", "another"])
    changed = target.copy()
    changed[[7, 250]] *= 1e6
    assert usable.sum() == 298
    before, after = (fit_bridge(source, one, folds, usable=usable, seed=0) for one in (target, changed))
    for one, other in zip((before.whole, *before.parts), (after.whole, *after.parts), strict=True):
        assert numpy.array_equal(one.weight, other.weight)


def test_folds_are_of_equal_size_and_drawn_with_the_seed():
    folds = draw_folds(texts_of(303), 0)
    assert max(numpy.bincount(folds)) - min(numpy.bincount(folds)) == 1
    assert not numpy.array_equal(folds, draw_folds(texts_of(303), 1))
    assert numpy.array_equal(folds, draw_folds(texts_of(303), 0))


def test_a_repeated_text_is_in_one_fold():
    folds = draw_folds([*texts_of(50), *texts_of(50), *texts_of(60)], 0)
    assert numpy.array_equal(folds[:50], folds[50:100])
    assert numpy.array_equal(folds[:50], folds[100:150])
    assert set(folds.tolist()) == set(range(FOLDS))


def test_a_bridge_needs_a_hundred_texts_that_are_not_measured():
    texts = texts_of(FEWEST_TEXTS)
    assert usable_rows(texts, ["another"]).all()
    with pytest.raises(InputError, match=r"99 texts to fit a bridge between the spaces on; expected at least 100"):
        usable_rows(texts, texts[:1])
