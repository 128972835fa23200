"""The curriculum: the competence, and the texts that take part at each step."""

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.methods.feeds.curriculum import Curriculum
from leafkit.methods.setting import Pool


def drawn(curriculum, setting, step, weights=None):
    """Return the pool that the curriculum makes of all texts at ``step``."""
    state = curriculum.build(setting)
    curriculum.refresh(state, setting, step)
    return curriculum.feed(Pool(rows=numpy.arange(setting.texts), weights=weights), state)


def test_competence_starts_at_initial_and_is_1_from_until_on():
    curriculum = Curriculum(initial=0.2, until=0.5)
    assert curriculum.competence(0, 100) == pytest.approx(0.2)
    assert [curriculum.competence(step, 100) for step in (50, 51, 100)] == [1.0, 1.0, 1.0]
    assert curriculum.competence(49, 100) < 1


def test_the_square_of_the_competence_grows_linearly():
    squares = [Curriculum(initial=0.1, until=1.0).competence(step, 40) ** 2 for step in range(41)]
    assert numpy.diff(squares) == pytest.approx([(1 - 0.1**2) / 40] * 40)


@pytest.mark.parametrize(("step", "share"), [(0, 0.1), (125, 0.507), (250, 0.711), (375, 0.8675), (500, 1.0)])
def test_values_worked_by_hand(step, share):
    # sqrt(step (1 - 0.01) / 500 + 0.01)
    assert Curriculum(initial=0.1, until=0.5).competence(step, 1000) == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize("step", [0, 5, 20, 40])
def test_the_shortest_texts_take_part_as_many_as_the_competence_allows(step, make_setting):
    setting, curriculum = make_setting(), Curriculum(initial=0.1)
    rows = drawn(curriculum, setting, step).rows
    assert len(rows) == numpy.ceil(curriculum.competence(step, setting.steps) * setting.texts)
    left = numpy.setdiff1d(numpy.arange(setting.texts), rows)
    assert setting.lengths[rows].max() <= setting.lengths[left].min()


def test_at_least_one_batch_takes_part(make_setting):
    setting = make_setting()
    assert len(drawn(Curriculum(initial=1e-9), setting, 0).rows) == setting.batch_size
    assert len(drawn(Curriculum(initial=1e-9), make_setting(batch_size=500), 0).rows) == setting.texts


def test_the_competence_is_a_share_of_the_given_pool(make_setting):
    setting, curriculum = make_setting(), Curriculum(initial=0.5)
    state = curriculum.build(setting)
    curriculum.refresh(state, setting, 0)
    longest = Pool(rows=numpy.flatnonzero(setting.lengths == setting.lengths.max()))
    assert len(curriculum.feed(longest, state).rows) == len(longest.rows) / 2
    assert len(curriculum.feed(Pool(rows=longest.rows[:10]), state).rows) == setting.batch_size


def test_texts_of_equal_length_are_ordered_by_the_seed(make_setting):
    even = numpy.full(120, 7)
    orders = [Curriculum().build(make_setting(lengths=even, seed=seed)).place.tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert all(sorted(order) == list(range(120)) != order for order in orders)


def test_weights_stay_with_their_texts(make_setting):
    weights = numpy.linspace(1, 2, 120)
    pool = drawn(Curriculum(initial=0.3), make_setting(), 0, weights)
    assert pool.weights.tolist() == weights[pool.rows].tolist()
    assert len(pool.rows) < 120


def test_the_pool_is_unchanged_once_all_texts_take_part(make_setting):
    setting, curriculum = make_setting(), Curriculum(until=0.5)
    state, everything = curriculum.build(setting), Pool(rows=numpy.arange(setting.texts))
    curriculum.refresh(state, setting, 50)
    assert curriculum.feed(everything, state) is everything


@pytest.mark.parametrize("wrong", [{"every": -1}, {"initial": 0.0}, {"initial": 1.1}, {"until": 0.0}, {"until": 2.0}])
def test_invalid_options_are_refused(wrong):
    with pytest.raises(OptionError, match=rf"curriculum:{next(iter(wrong))} is .*; expected"):
        Curriculum(**wrong)
