"""Learning curves read from the training entry of a student's leafkit.json."""

from __future__ import annotations

import pytest

from leafkit.evaluation.learning_curve import learning_curve


def training(*steps, texts, batch_size):
    figures = {"seconds": 1.5, "cosine_mean": 0.9, "overlap_at_10": 0.5}
    return {
        "data": {"training": texts},
        "recipe": {"batch_size": batch_size},
        "history": [{"step": step, **figures} for step in steps],
    }


@pytest.mark.parametrize(
    ("step", "examples"), [(0, 0), (1, 4), (2, 8), (3, 10), (4, 14), (6, 20), (7, 24)], ids=lambda value: str(value)
)
def test_the_last_batch_of_an_epoch_counts_its_own_size(step, examples):
    (validation,) = learning_curve(training(step, texts=10, batch_size=4))
    assert (validation.step, validation.examples) == (step, examples)


def test_a_curve_has_a_point_for_each_validation():
    curve = learning_curve(training(0, 3, texts=10, batch_size=4))
    assert [(one.seconds, one.cosine, one.overlap_at_10) for one in curve] == [(1.5, 0.9, 0.5)] * 2


def test_an_overlap_of_few_held_out_texts_is_left_out():
    recorded = training(0, 3, texts=10, batch_size=4)
    recorded["data"]["validation"] = 6
    assert [one.overlap_at_10 for one in learning_curve(recorded)] == [None, None]


def test_a_student_without_a_recorded_training_has_no_curve():
    whole = training(0, 3, texts=10, batch_size=4)
    assert len(learning_curve(whole)) == 2
    assert learning_curve({}) == ()
    for name in whole:
        assert learning_curve({key: value for key, value in whole.items() if key != name}) == ()
