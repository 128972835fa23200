"""RAD: the worst-case optimal distribution over texts, and exact draws from its marginals."""

import itertools

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.feeds.rad import (
    LEAST_GAIN,
    Rad,
    dependent_rounding,
    margin_gains,
    marginals,
    query_distribution,
)
from leafkit.methods.setting import Pool


def some_gains(seed, count=8):
    return numpy.random.default_rng(seed).uniform(0.02, 1, count)


def worst_case(shares, gains, wrong):
    """The smallest sum over all choices of ``wrong`` texts, by enumeration."""
    worth = shares * gains
    return min(worth.sum() - worth[list(taken)].sum() for taken in itertools.combinations(range(len(gains)), wrong))


def best_value(gains, wrong, budget=1.0, most=numpy.inf):
    """The value of the game as a linear program, with the inner minimum replaced by its dual."""
    from scipy.optimize import linprog

    count = len(gains)
    # Variables: q (count), u (count), level; the worst case is q.g - wrong * level - sum u with u >= q g - level.
    cost = numpy.concatenate([-gains, numpy.ones(count), [wrong]])
    above = numpy.hstack([numpy.diag(gains), -numpy.eye(count), -numpy.ones((count, 1))])
    equal = numpy.concatenate([numpy.ones(count), numpy.zeros(count + 1)])[None]
    bounds = [(0, most)] * count + [(0, None)] * (count + 1)
    return -linprog(cost, A_ub=above, b_ub=numpy.zeros(count), A_eq=equal, b_eq=[budget], bounds=bounds).fun


def run(rad, setting, rounds):
    state = rad.build(setting)
    for step in range(rounds + 1):
        rad.refresh(state, setting, step * rad.every)
    return state


@pytest.mark.parametrize("wrong", [0, 1, 2, 4, 7])
def test_the_distribution_has_the_value_of_the_linear_program(wrong):
    for seed in range(20):
        gains = some_gains(seed)
        q = query_distribution(gains, wrong)
        assert worst_case(q, gains, wrong) == pytest.approx(best_value(gains, wrong), abs=1e-9)


@pytest.mark.parametrize("wrong", [0, 3, 6])
def test_the_distribution_sums_to_1_and_its_worth_is_constant_on_the_support(wrong):
    gains = some_gains(5, 20)
    q = query_distribution(gains, wrong)
    assert q.sum() == pytest.approx(1)
    support = q > 0
    assert support.sum() > wrong
    assert (q * gains)[support] == pytest.approx(numpy.full(support.sum(), (q * gains).max()))
    assert gains[support].min() > gains[~support].max(initial=0)


def test_without_errors_all_mass_is_on_the_largest_gain():
    gains = some_gains(2)
    assert numpy.array_equal(query_distribution(gains, 0), numpy.eye(8)[gains.argmax()])


def test_the_distribution_does_not_depend_on_the_scale_of_the_gains():
    gains = some_gains(3)
    assert query_distribution(4 * gains, 2) == pytest.approx(query_distribution(gains, 2))


def test_a_distribution_worked_by_hand():
    # 1/g = 1, 2, 4: H = 1, 3, 7, and with m = 1, (k - 1) / H_k = 0, 1/3, 2/7. So k* = 2 and q = (1/3, 2/3, 0).
    assert query_distribution(numpy.array([0.25, 1.0, 0.5]), 1) == pytest.approx([0, 1 / 3, 2 / 3])


def test_more_errors_than_texts_give_a_distribution_over_all():
    q = query_distribution(some_gains(1), 8)
    assert q.sum() == pytest.approx(1)
    assert (q > 0).all()


@pytest.mark.parametrize("budget", [1, 3, 5, 8])
@pytest.mark.parametrize("wrong", [0, 1, 3])
def test_marginals_are_probabilities_that_sum_to_the_budget(budget, wrong):
    for seed in range(20):
        gains = some_gains(seed)
        shares = marginals(gains, budget, wrong)
        assert shares.sum() == pytest.approx(budget)
        assert shares.min() >= 0
        assert shares.max() <= 1
        q = query_distribution(gains, wrong)
        if budget * q.max() <= 1 and (q > 0).sum() >= budget:
            assert shares == pytest.approx(budget * q)
            best = best_value(gains, wrong, budget, 1)
            assert worst_case(shares, gains, wrong) == pytest.approx(best, abs=1e-9)


def test_without_errors_the_budget_goes_to_the_largest_gains():
    gains = some_gains(4, 30)
    assert set(numpy.flatnonzero(marginals(gains, 7, 0))) == set(numpy.argsort(-gains)[:7])
    assert marginals(gains, 7, 0).max() == 1


def test_an_excess_above_1_is_spread_in_proportion():
    # q = (1/7, 2/7, 4/7): twice that is (2/7, 4/7, 8/7), and 1/7 is spread over the first two, 1 to 2.
    gains = numpy.array([1.0, 0.5, 0.25])
    assert query_distribution(gains, 2) == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert marginals(gains, 2, 2) == pytest.approx([1 / 3, 2 / 3, 1])


def test_rounding_draws_exactly_the_budget_with_unbiased_marginals():
    shares = marginals(some_gains(0, 12), 5, 4)
    assert ((shares > 0) & (shares < 1)).sum() > 5
    draw = numpy.random.default_rng(0)
    counts = numpy.zeros(12)
    for _ in range(2000):
        places = dependent_rounding(shares, draw)
        assert len(places) == 5
        counts[places] += 1
    # Five standard errors of a share of one half over 2,000 draws.
    assert counts / 2000 == pytest.approx(shares, abs=5 * 0.5 / 2000**0.5)


def test_rounding_keeps_certain_texts():
    shares = numpy.array([1.0, 0.0, 0.5, 0.5])
    draws = {tuple(dependent_rounding(shares, numpy.random.default_rng(seed))) for seed in range(20)}
    assert draws == {(0, 2), (0, 3)}
    assert dependent_rounding(numpy.array([0.0, 1.0]), numpy.random.default_rng(0)).tolist() == [1]


def test_the_gain_is_one_minus_the_margin_with_a_floor():
    probabilities = numpy.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.5, 0.0, 0.5]])
    assert margin_gains(probabilities) == pytest.approx([0.8, LEAST_GAIN, 1.0])


def test_with_eps_0_a_round_picks_the_texts_with_the_smallest_margins(make_setting):
    setting = make_setting()
    rad = Rad(first=10, picks=7, eps=0, count=4)
    state = rad.build(setting)
    before = state.selected.clone()
    rad.refresh(state, setting, 15)
    logits = state.anchors.logits(torch.from_numpy(setting.student(numpy.arange(120))))
    top = torch.softmax(logits, dim=-1).topk(2).values
    margin = (top[:, 0] - top[:, 1]).masked_fill(before, 2)
    assert set((state.selected & ~before).nonzero()[:, 0].tolist()) == set(margin.argsort()[:7].tolist())


def test_a_larger_eps_spends_less_on_the_hardest_texts(make_setting):
    setting, candidates = make_setting(), numpy.arange(120)
    shares = []
    for eps in (0.0, 0.02, 0.3):
        rad = Rad(first=10, picks=12, eps=eps, count=4)
        state = rad.build(setting)
        hardest = Rad(first=10, picks=12, eps=0, count=4).choose(state, setting, candidates, 12, 1)
        picks = [rad.choose(state, setting, candidates, 12, step) for step in range(30)]
        shares.append(numpy.isin(picks, hardest).mean())
    assert shares[0] == 1
    assert shares[0] > shares[1] > shares[2] > 0


def test_the_selection_grows_to_the_budget_and_asks_the_teacher_for_the_first_texts_only(make_setting):
    setting, asked = make_setting(), set()

    def targets(rows):
        asked.update(rows.tolist())
        return setting.targets(rows)

    rad = Rad(first=10, picks=7, share=0.25, count=4)
    state = rad.build(make_setting(targets=targets))
    first = set(state.selected.nonzero()[:, 0].tolist())
    sizes = []
    for step in range(5):
        rad.refresh(state, make_setting(targets=targets), step * rad.every)
        pool = rad.feed(Pool(rows=numpy.arange(120)), state)
        sizes.append(len(pool.rows))
        assert rad.teacher_calls(120, state) == len(pool.rows)
    assert sizes == [10, 17, 24, 30, 30]
    assert asked == first


def test_the_log_has_the_size_of_the_support(make_setting, caplog):
    with caplog.at_level("INFO", logger="leafkit"):
        run(Rad(first=10, picks=7, eps=0, count=4), make_setting(), 1)
    assert "rad: step 15: picks 7 of a support of 7 texts" in caplog.text


def test_the_same_seed_and_state_pick_the_same_texts(make_setting):
    setting, rad = make_setting(), Rad(first=10, picks=7, count=4)
    state, fresh = run(rad, setting, 1), rad.build(setting)
    fresh.load_state_dict(state.state_dict())
    for some in (state, fresh):
        rad.refresh(some, setting, 30)
    assert torch.equal(state.selected, fresh.selected)
    assert not torch.equal(state.selected, run(rad, make_setting(seed=1), 2).selected)


def test_labels_are_needed_only_for_anchors_of_labels():
    assert Rad().needs == frozenset()
    assert Rad(anchors="labels").needs == {"labels"}


@pytest.mark.parametrize("field", [{"eps": -0.1}, {"eps": 1.0}, {"anchors": "words"}, {"count": 1}, {"share": 0.0}])
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"rad:{next(iter(field))} is .*; expected"):
        Rad(**field)


def test_a_budget_below_two_texts_is_refused(make_setting):
    with pytest.raises(OptionError, match=r"rad:share is 0\.01; expected a share of 120 texts that is 2"):
        Rad(share=0.01).check(make_setting())


def test_anchors_of_labels_without_classes_are_refused(make_setting):
    with pytest.raises(OptionError, match="anchors=labels needs texts of at least two classes"):
        Rad(anchors="labels").check(make_setting(labels=numpy.zeros(120, dtype=numpy.int64)))
