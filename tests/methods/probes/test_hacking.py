"""The hacking probe on series that follow a power law, with and without a break."""

import numpy
import pytest

from leafkit.errors import InputError, OptionError
from leafkit.methods.probes.hacking import Hacking, cross, departs, distance, rises

LAW = {"window": 21, "patience": 3, "deviations": 3.0}


@pytest.fixture
def spaces():
    draw = numpy.random.default_rng(0)
    return [draw.standard_normal((50, 6)).astype(numpy.float32) for _ in range(3)]


def series(seed, drift=0.0):
    """A power law with 2 % noise over the times 1 to 101, drifting upwards after the sixtieth."""
    draw, steps = numpy.random.default_rng(seed), numpy.arange(1, 101)
    late = numpy.maximum(steps - 60, 0)
    return steps**-0.5 * (1 + 0.02 * draw.standard_normal(100)) * (1 + drift) ** late


def alarm(values, law=LAW):
    first = 1 + law["window"] + law["patience"]
    return any(departs(values[:end].tolist(), range(1, end + 1), **law) for end in range(first, len(values) + 1))


def test_the_golden_distance_is_the_sum_of_proxy_teacher_distance_and_cross_term(spaces):
    student, teacher, oracle = spaces
    total = distance(student, teacher) + distance(teacher, oracle) + cross(student, teacher, oracle)
    assert distance(student, oracle) == pytest.approx(total)


def test_a_power_law_raises_at_most_two_percent_false_alarms():
    assert sum(alarm(series(seed)) for seed in range(200)) <= 4


def test_an_upward_drift_is_found():
    assert sum(alarm(series(seed, drift=0.01)) for seed in range(100)) >= 95


def test_the_defaults_find_the_drift_with_few_false_alarms():
    shipped = {"window": 50, "patience": Hacking().patience, "deviations": Hacking().deviations}
    assert sum(alarm(series(seed), shipped) for seed in range(200)) <= 8
    assert sum(alarm(series(seed, drift=0.01), shipped) for seed in range(100)) >= 95


def test_a_short_series_raises_no_alarm():
    assert not departs([1.0] * 5 + [9.0] * 3, range(8), **LAW)


def test_a_break_of_a_perfect_power_law_is_found():
    times, law = range(42), [9.0, *(n**-0.7 for n in range(1, 39))]
    assert not departs(law, times[:39], window=8, patience=3, deviations=3)
    assert departs([*law, 0.5, 0.5, 0.5], times, window=8, patience=3, deviations=3)
    assert not departs([*law, 0.5, 0.5], times[:41], window=8, patience=3, deviations=3)


def test_a_falling_learning_rate_raises_no_alarm(spaces, make_look):
    """The law holds over the sum of learning rates; over equal times, the same figures look like a departure."""
    rates = 1 - numpy.arange(100) / 100
    learned = numpy.concatenate([[1.0], rates.cumsum()])[::4]
    distances = learned**-0.7
    history = [{"step": 4 * n, "hacking": {"proxy": found}} for n, found in enumerate(distances[:-1])]
    student = spaces[0] + numpy.sqrt(distances[-1] / 6, dtype=numpy.float32)

    def events(rates):
        return Hacking().observe(make_look(student, spaces[0], history, step=100, validations=26, rates=rates))

    assert "events" not in events(rates)
    assert events(numpy.ones(100))["events"] == ["refresh_data"]


def test_a_rise_is_measured_from_the_minimum():
    assert not rises([3, 2, 1, 1, 1], 0.01)
    assert rises([3, 2, 1, 1, 1, 2, 2], 0.01)


def test_earlier_figures_are_read_from_the_history(spaces, make_look):
    student, teacher, _ = spaces
    probe = Hacking(window=0.4, patience=2)
    history = [{"step": n, "hacking": {"proxy": max(n, 0.5) ** -0.5}} for n in range(7)]

    def observe(history):
        return probe.observe(make_look(student, teacher, history, validations=10))

    assert observe(history[:6])["proxy"] == pytest.approx(distance(student, teacher))
    last = {"step": 7, "hacking": observe(history)}
    assert "events" not in last["hacking"]
    assert observe([*history, last])["events"] == ["refresh_data"]


def test_a_window_is_a_share_of_the_planned_observations(spaces, make_look):
    student, teacher, _ = spaces
    history = [{"step": n, "hacking": {"proxy": max(n, 0.5) ** -0.5}} for n in range(9)]
    for validations, every, expected in ((19, 1, False), (14, 1, True), (28, 2, True)):
        found = Hacking(patience=1, every=every).observe(make_look(student, teacher, history, validations=validations))
        assert ("events" in found) == expected


@pytest.mark.parametrize(
    ("fields", "validations", "looks"),
    [
        ({}, 8, True),
        ({}, 7, False),
        ({"patience": 1}, 5, True),
        ({"patience": 1}, 4, False),
        ({"every": 2}, 11, False),
    ],
)
def test_a_training_with_too_few_validations_is_refused(fields, validations, looks, make_setting):
    probe, facts = Hacking(**fields), make_setting(validations=validations)
    if looks:
        probe.check(facts)
        return
    with pytest.raises(OptionError, match=r"hacking can never see a deviation: it needs \d+ observations"):
        probe.check(facts)


def test_moving_away_from_the_oracle_raises_the_event_stop(spaces, tmp_path, make_look):
    _, teacher, oracle = spaces
    numpy.save(tmp_path / "oracle.npy", oracle)
    probe = Hacking(oracle=str(tmp_path / "oracle.npy"))
    history, seen = [], []
    for share in (0.0, 0.3, 0.6, 0.9):
        near = oracle + share * (teacher - oracle)
        seen.append(probe.observe(make_look(near.astype(numpy.float32), teacher, history)))
        history.append({"step": len(history), "hacking": seen[-1]})
    assert seen[-1]["golden"] > seen[0]["golden"]
    assert seen[-1]["events"] == ["stop"]
    assert "events" not in seen[0]


def test_an_unreadable_or_misshapen_oracle_is_refused(spaces, tmp_path, make_look, make_setting):
    student, teacher, oracle = spaces
    numpy.save(tmp_path / "oracle.npy", oracle[:9])
    with pytest.raises(InputError, match="one vector for each held-out text"):
        Hacking(oracle=str(tmp_path / "oracle.npy")).observe(make_look(student, teacher))
    with pytest.raises(InputError, match="contains vectors of width 6; expected 8"):
        Hacking(oracle=str(tmp_path / "oracle.npy")).check(make_setting())
    with pytest.raises(InputError, match=r"hacking:oracle: .*none\.npy is missing"):
        Hacking(oracle=str(tmp_path / "none.npy")).check(make_setting())


@pytest.mark.parametrize("fields", [{"window": 0.0}, {"window": 1.0}, {"patience": 0}, {"every": -1}, {"rise": -0.1}])
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"hacking:{next(iter(fields))} is .*; expected"):
        Hacking(**fields)
