import logging

import pytest

from leafkit.errors import TrainingError
from leafkit.training.alarm import check_loss, check_spread
from leafkit.training.checkpoint import State
from leafkit.training.validation import Figures


def figures(spread, cosine=0.5):
    return Figures(cosine_mean=cosine, cosine_p5=0.1, overlap_at_10=0.1, spread=spread, distance=1.0)


@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0, 2.0])
def test_a_student_whose_vectors_differ_raises_no_alarm(spread, caplog):
    check_spread(figures(spread), State(step=10, widest=1.0), "folder")
    assert not caplog.records


def test_a_collapse_during_training_stops_the_run_with_advice():
    with pytest.raises(TrainingError, match=r"lower learning rate.*folder"):
        check_spread(figures(0.001), State(step=10, widest=0.5), "folder")


def test_a_student_that_was_collapsed_from_the_start_is_only_a_warning(caplog):
    with caplog.at_level(logging.WARNING, logger="leafkit"):
        check_spread(figures(0.001), State(step=0, widest=0.0), "folder")
    assert "nearly all texts get the same vector" in caplog.text


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(loss):
    with pytest.raises(TrainingError, match="at step 3; expected a finite number"):
        check_loss(loss, 3, "folder")
    with pytest.raises(TrainingError, match=r"mean cosine of .* expected a finite number"):
        check_spread(figures(1.0, cosine=loss), State(), "folder")
