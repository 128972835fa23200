"""DDK: the shares of the domains, the probes and the draws."""

import itertools

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.feeds.ddk import Ddk, merge_domains, next_share
from leafkit.methods.setting import Pool


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def steady(ratio, alpha=0.5, cap=0.6):
    share = torch.full_like(ratio, 1 / len(ratio))
    for _ in range(2000):
        share = next_share(share, ratio, alpha, cap)
    return share


def ratios(count, seed):
    draw = torch.Generator().manual_seed(seed)
    return 4 * torch.rand(20, count, generator=draw, dtype=torch.float64)


def errors(setting, sizes):
    """Return a student whose squared distance to the teacher is ``sizes[domain]``."""
    sizes = numpy.asarray(sizes, dtype=numpy.float32)

    def student(rows):
        vectors = setting.targets(rows).copy()
        vectors[:, 0] += numpy.sqrt(sizes[setting.domains[rows]])
        return vectors

    return student


def everything(setting):
    return Pool(rows=numpy.arange(setting.texts))


def of_domains(pool, setting):
    return numpy.bincount(setting.domains[pool.rows], pool.weights)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_shares_sum_to_one_and_stay_between_floor_and_cap(alpha, count):
    share = torch.full((count,), 1 / count, dtype=torch.float64)
    for ratio in ratios(count, seed=count):
        share = next_share(share, ratio, alpha, 0.6)
        assert float(share.sum()) == pytest.approx(1, abs=1e-12)
        assert (share >= (1 - alpha) / count - 1e-12).all()
        assert (share <= 0.6 + 1e-12).all()


def test_with_equal_ratios_the_distance_from_even_shares_shrinks_by_alpha():
    share = double(0.1, 0.2, 0.3, 0.4)
    for alpha, ratio in itertools.product((0.2, 0.5, 0.9), (0.0, 1.0, 4.0)):
        after = next_share(share, torch.full_like(share, ratio), alpha, 0.6)
        torch.testing.assert_close(after - 0.25, alpha * (share - 0.25), atol=1e-14, rtol=0)


def test_converged_shares_are_ordered_like_the_ratios():
    ratio = double(0.5, 2.0, 1.0, 1.5, 0.1)
    assert torch.equal(steady(ratio).argsort(), ratio.argsort())


def test_permuting_the_domains_permutes_the_shares():
    share, ratio, order = double(0.5, 0.3, 0.2), double(1.0, 4.0, 0.2), torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        next_share(share[order], ratio[order], 0.5, 0.6), next_share(share, ratio, 0.5, 0.6)[order]
    )


@pytest.mark.parametrize(("ratio", "known"), [((1, 1, 1, 1, 2), (0.140, 0.441)), ((1, 1, 1, 1, 4), (0.104, 0.583))])
def test_converged_shares_equal_the_known_values(ratio, known):
    share = steady(double(*ratio))
    assert share[:4].tolist() == pytest.approx([known[0]] * 4, abs=5e-4)
    assert float(share[4]) == pytest.approx(known[1], abs=5e-4)


def test_one_step_worked_by_hand():
    # psi = (.5 * 2, .5 * 1), so that r = (2/3, 1/3) / 2 + 1/4
    share = next_share(double(0.5, 0.5), double(2.0, 1.0).log(), 0.5, 1.0)
    assert share.tolist() == pytest.approx([1 / 3 + 0.25, 1 / 6 + 0.25])


def test_the_excess_over_the_cap_goes_to_the_others_in_proportion():
    free, capped = (next_share(double(0.6, 0.2, 0.2), double(4, 1, 0), 0.9, cap) for cap in (1.0, 0.6))
    assert float(free[0]) > 0.6
    assert float(capped[0]) == pytest.approx(0.6)
    assert float(capped[1] / capped[2]) == pytest.approx(float(free[1] / free[2]))


def test_a_share_of_zero_gives_no_nan_without_smoothing():
    share = steady(double(0.0, 4.0), alpha=1.0)
    assert share.tolist() == pytest.approx([0.4, 0.6])  # the cap holds
    assert next_share(double(0.0, 1.0), double(1.0, 1.0), 1.0, 1.0).tolist() == [0.0, 1.0]


def test_probes_are_at_most_a_tenth_of_their_domain_and_are_never_drawn(make_setting):
    setting = make_setting()
    for probes, expected in ((64, [9, 3]), (5, [5, 3]), (1, [1, 1])):
        ddk = Ddk(probes=probes)
        state = ddk.build(setting)
        reserved = state.reserved.numpy()
        assert numpy.bincount(setting.domains[reserved]).tolist() == expected
        ddk.refresh(state, setting, 0)
        drawn = ddk.feed(everything(setting), state).rows
        assert sorted([*drawn, *numpy.flatnonzero(reserved)]) == list(range(setting.texts))
    assert torch.equal(Ddk().build(setting).reserved, Ddk().build(setting).reserved)
    assert not torch.equal(Ddk().build(setting).reserved, Ddk().build(make_setting(seed=1)).reserved)


def test_the_first_draws_are_spread_evenly_over_the_domains(make_setting):
    setting = make_setting()
    ddk = Ddk()
    state = ddk.build(setting)
    ddk.refresh(state, setting, 0)
    pool = ddk.feed(everything(setting), state)
    assert of_domains(pool, setting).tolist() == pytest.approx([0.5, 0.5])
    for domain in (0, 1):
        assert len(set(pool.weights[setting.domains[pool.rows] == domain].tolist())) == 1


@pytest.mark.parametrize("sharpness", [1.0, 8.0])
def test_the_student_is_compared_with_itself_at_step_0_on_the_probes(sharpness, make_setting):
    setting = make_setting()
    ddk = Ddk(every=10, sharpness=sharpness)
    state = ddk.build(setting)
    asked = []

    def student(rows):
        asked.extend(rows.tolist())
        return errors(setting, [1.0, 2.0])(rows)

    ddk.refresh(state, make_setting(student=student), 0)
    assert state.reference.tolist() == pytest.approx([1.0, 2.0], rel=1e-5)
    ddk.refresh(state, make_setting(student=errors(setting, [0.5, 1.8])), 10)
    expected = next_share(double(0.5, 0.5), sharpness * double(0.5, 0.9), 0.5, 0.6)
    assert state.share.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert of_domains(ddk.feed(everything(setting), state), setting).tolist() == pytest.approx(
        expected.tolist(), rel=1e-5
    )
    assert set(asked) == set(numpy.flatnonzero(state.reserved.numpy()).tolist())


def test_the_ratio_is_at_most_four_and_a_perfect_start_gives_no_nan(make_setting):
    setting = make_setting()
    for before in ([1.0, 1.0], [0.0, 1.0]):
        ddk = Ddk(every=10, sharpness=1.0)
        state = ddk.build(setting)
        ddk.refresh(state, make_setting(student=errors(setting, before)), 0)
        ddk.refresh(state, make_setting(student=errors(setting, [1000.0, 1.0])), 10)
        expected = next_share(double(0.5, 0.5), double(4.0, 1.0), 0.5, 0.6)
        assert state.share.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_a_sharper_discrepancy_moves_the_shares_further_apart():
    ratio, even = double(0.5, 0.6, 0.7, 0.9), double(0.25, 0.25, 0.25, 0.25)
    spreads = [float(share.max() / share.min()) for share in (next_share(even, k * ratio, 0.5, 0.6) for k in (0, 1, 8))]
    # With the paper's sharpness, exp(0.9 - 0.5) = 1.5 is all that separates the domains before they are smoothed.
    assert spreads[0] == pytest.approx(1)
    assert spreads[1] < 1.25
    assert spreads[2] > 3


def test_within_a_domain_the_weights_of_the_pool_keep_their_proportions(make_setting):
    setting = make_setting()
    ddk = Ddk()
    state = ddk.build(setting)
    ddk.refresh(state, setting, 0)
    before = Pool(rows=numpy.arange(60, 120), weights=numpy.arange(60, 120, dtype=numpy.float64))
    after = ddk.feed(before, state)
    assert of_domains(after, setting).tolist() == pytest.approx([0.5, 0.5])
    for domain in (0, 1):
        ratio = after.weights / after.rows
        mine = ratio[setting.domains[after.rows] == domain]
        assert mine.tolist() == pytest.approx([mine[0]] * len(mine))


def test_disabled_ddk_reserves_measures_and_chooses_nothing(make_setting):
    def student(rows):
        raise AssertionError("looked at")

    for domains in (None, numpy.zeros(120, dtype=numpy.int64)):
        setting = make_setting(student=student, **({} if domains is None else {"domains": domains}))
        ddk = Ddk(**Ddk.off)
        state = ddk.build(setting)
        ddk.refresh(state, setting, 0)
        pool = everything(setting)
        assert ddk.feed(pool, state) is pool
        assert not state.reserved.any()


def test_the_state_restores_everything(make_setting):
    setting = make_setting()
    ddk = Ddk(every=10)
    state, fresh = ddk.build(setting), ddk.build(make_setting(seed=3))
    ddk.refresh(state, setting, 0)
    ddk.refresh(state, make_setting(student=errors(setting, [0.1, 1.0])), 10)
    fresh.load_state_dict(state.state_dict())
    one, two = (ddk.feed(everything(setting), some) for some in (state, fresh))
    assert numpy.array_equal(one.rows, two.rows)
    assert numpy.array_equal(one.weights, two.weights)


def test_small_domains_are_merged_until_none_is_below_the_least():
    domains = numpy.repeat([0, 1, 2, 3, 9], [50, 4, 7, 3, 30])
    found = merge_domains(domains, 10)
    assert sorted(numpy.bincount(found).tolist()) == [14, 30, 50]
    assert len(set(found[50:64].tolist())) == 1
    assert sorted(numpy.bincount(merge_domains(domains, 20)).tolist()) == [44, 50]
    assert numpy.bincount(merge_domains(domains, 1)).tolist() == [50, 4, 7, 3, 30]
    assert set(merge_domains(domains, 1000).tolist()) == {0}


def test_texts_of_a_single_domain_are_refused(make_setting):
    with pytest.raises(OptionError, match="several sources"):
        Ddk().check(make_setting(domains=numpy.zeros(120, dtype=numpy.int64)))


@pytest.mark.parametrize(
    "field", [{"every": -1}, {"alpha": 1.5}, {"cap": 0.5}, {"cap": 1.1}, {"probes": 0}, {"least": 9}]
)
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"ddk:{next(iter(field))} is .*; expected"):
        Ddk(**field)
