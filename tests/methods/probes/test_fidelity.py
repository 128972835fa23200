import json

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.errors import OptionError
from leafkit.methods.probes.fidelity import (
    Fidelity,
    agreement,
    linear_cka,
    noisy,
    overlap,
    rank_biased_overlap,
    similarity_correlation,
)

GEOMETRY = ("overlap", "rank_biased_overlap", "kendall_tau", "cka", "rsa")


def unit(rows, dim, seed):
    vectors = numpy.random.default_rng(seed).standard_normal((rows, dim))
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def teacher():
    return unit(60, 8, 0).astype(numpy.float32)


def test_a_perfect_student_has_everything(teacher):
    report = Fidelity().observe(teacher, teacher, [])
    assert report["proxy"] == 0
    assert all(report[name] == pytest.approx(1) for name in ("cosine_mean", "cosine_p5", *GEOMETRY))


def test_another_student_lacks_something_of_each(teacher):
    report = Fidelity().observe(unit(60, 8, 1).astype(numpy.float32), teacher, [])
    assert report["proxy"] > 0
    assert all(report[name] < 0.9 for name in ("cosine_mean", "cosine_p5", *GEOMETRY))


def test_a_rotated_student_keeps_geometry_and_neighbours_but_not_its_cosine(teacher):
    rotation = numpy.linalg.qr(numpy.random.default_rng(2).standard_normal((8, 8)))[0]
    report = Fidelity().observe((teacher @ rotation).astype(numpy.float32), teacher, [])
    assert report["cosine_mean"] < 0.9
    assert all(report[name] == pytest.approx(1, abs=1e-3) for name in GEOMETRY)


@pytest.mark.filterwarnings("ignore")
def test_a_student_of_one_vector_has_a_report_that_json_can_hold(teacher):
    report = Fidelity().observe(numpy.full_like(teacher, 8**-0.5), teacher, [])
    json.dumps(report, allow_nan=False)
    assert report["rsa"] == report["kendall_tau"] == 0


def test_more_noise_on_the_targets_leaves_fewer_neighbours(teacher):
    kept = [
        numpy.mean([Fidelity().observe(noisy(teacher, sigma, seed), teacher, [])["overlap"] for seed in range(8)])
        for sigma in (0.0, 0.2, 0.5, 1.0, 3.0)
    ]
    assert kept[0] == 1
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == 5


def test_noise_is_as_long_as_it_says(teacher):
    added = noisy(teacher, 0.5, 0) - teacher
    assert float(numpy.linalg.norm(added, axis=1).mean()) == pytest.approx(0.5, rel=0.1)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=40))
def test_agreement_bounds_what_the_student_can_win_or_lose(items):
    ours, theirs, truth = (numpy.array(column) for column in zip(*items, strict=True))
    table = agreement(ours, theirs, truth)
    assert abs(table["student"] - table["teacher"]) <= 1 - table["agreement"] + 1e-12
    # Holds for classes of any number: where both are right they agree.
    assert table["agreement"] >= table["student"] + table["teacher"] - 1 - 1e-12
    assert sum(table[name] for name in ("both", "teacher_alone", "student_alone", "neither")) == pytest.approx(1)


def test_overlaps_worked_by_hand():
    near, wanted = numpy.array([[1, 2], [3, 4]]), numpy.array([[1, 3], [4, 3]])
    assert overlap(near, wanted) == 0.75
    # At depth 1 one of two lists agrees; at depth 2, three of four places.
    assert rank_biased_overlap(near, wanted, 0.5) == pytest.approx((1 * 0.5 + 0.5 * 0.75) / 1.5)


def test_alignment_knows_no_scale_and_no_shift():
    vectors = unit(30, 5, 3)
    assert linear_cka(vectors, 7 * vectors + 2) == pytest.approx(1)
    assert linear_cka(vectors, numpy.zeros((30, 4))) == 0
    assert similarity_correlation(vectors, vectors) == pytest.approx(1)


@pytest.mark.parametrize("fields", [{"texts": 2}, {"neighbours": 0}, {"persistence": 1.0}, {"every": -1}])
def test_a_report_that_cannot_be_is_refused(fields):
    with pytest.raises(OptionError, match="wanted"):
        Fidelity(**fields)
