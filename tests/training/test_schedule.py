import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.training.schedule import learning_rate_at


def rates(steps, cycles=1, warmup=0.0):
    return [
        learning_rate_at(step, steps=steps, cycles=cycles, start=1e-4, end=1e-5, warmup=warmup) for step in range(steps)
    ]


@given(st.integers(2, 400), st.integers(1, 6))
def test_every_cycle_falls_from_the_first_rate_to_the_last(steps, cycles):
    found = rates(steps, cycles)
    assert found[0] == pytest.approx(1e-4)
    assert all(1e-5 - 1e-12 <= rate <= 1e-4 + 1e-12 for rate in found)
    restarts = [i for i in range(1, steps) if found[i] > found[i - 1]]
    assert len(restarts) <= cycles - 1
    if steps >= 2 * cycles:
        assert len(restarts) == cycles - 1
        assert [found[i - 1] for i in [*restarts, steps]] == pytest.approx([1e-5] * cycles)
        assert [found[i] for i in restarts] == pytest.approx([1e-4] * (cycles - 1))


def test_three_cycles_of_three_steps_by_hand():
    assert rates(9, cycles=3) == pytest.approx([1e-4, 5.5e-5, 1e-5] * 3)


def test_only_the_first_cycle_has_a_warm_up():
    plain, warm = rates(200, cycles=2), rates(200, cycles=2, warmup=0.1)
    assert warm[10:] == pytest.approx(plain[10:])
    assert warm[0] == pytest.approx(plain[0] / 11)
    assert sorted(warm[:10]) == warm[:10]


def test_a_single_step_takes_the_first_rate():
    assert rates(1, cycles=3) == [1e-4]
