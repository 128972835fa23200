"""The figures of the fidelity probe, and the sweeps that its paper makes."""

import json

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.methods.probes.fidelity import (
    Fidelity,
    linear_cka,
    overlap,
    rank_biased_overlap,
    similarity_correlation,
)

GEOMETRY = ("overlap", "rank_biased_overlap", "kendall_tau", "cka", "rsa")


def unit(rows, dim, seed):
    vectors = numpy.random.default_rng(seed).standard_normal((rows, dim))
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def noisy(vectors, sigma, seed):
    """Return ``vectors`` (rows, dim) plus Gaussian noise of expected length ``sigma`` times their mean length."""
    length = float(numpy.linalg.norm(vectors, axis=1).mean())
    noise = numpy.random.default_rng(seed).standard_normal(vectors.shape) / numpy.sqrt(vectors.shape[1])
    return vectors + sigma * length * noise


@pytest.fixture
def teacher():
    return unit(60, 8, 0).astype(numpy.float32)


def test_a_perfect_student_has_perfect_figures(teacher, make_look):
    report = Fidelity().observe(make_look(teacher, teacher))
    assert report["proxy"] == 0
    assert all(report[name] == pytest.approx(1) for name in ("cosine_mean", "cosine_p5", *GEOMETRY))


def test_an_unrelated_student_loses_in_every_figure(teacher, make_look):
    report = Fidelity().observe(make_look(unit(60, 8, 1).astype(numpy.float32), teacher))
    assert report["proxy"] > 0
    assert all(report[name] < 0.9 for name in ("cosine_mean", "cosine_p5", *GEOMETRY))


def test_a_rotated_student_keeps_neighbours_and_geometry_but_not_cosines(teacher, make_look):
    rotation = numpy.linalg.qr(numpy.random.default_rng(2).standard_normal((8, 8)))[0]
    report = Fidelity().observe(make_look((teacher @ rotation).astype(numpy.float32), teacher))
    assert report["cosine_mean"] < 0.9
    assert all(report[name] == pytest.approx(1, abs=1e-3) for name in GEOMETRY)


@pytest.mark.filterwarnings("ignore")
def test_the_figures_of_a_collapsed_student_are_valid_json(teacher, make_look):
    report = Fidelity().observe(make_look(numpy.full_like(teacher, 8**-0.5), teacher))
    json.dumps(report, allow_nan=False)
    assert report["rsa"] == report["kendall_tau"] == 0


def test_more_noise_keeps_fewer_neighbours(teacher, make_look):
    kept = [
        numpy.mean(
            [Fidelity().observe(make_look(noisy(teacher, sigma, seed), teacher))["overlap"] for seed in range(8)]
        )
        for sigma in (0.0, 0.2, 0.5, 1.0, 3.0)
    ]
    assert kept[0] == 1
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == 5


def test_the_noise_of_the_sweep_has_the_stated_length(teacher):
    added = noisy(teacher, 0.5, 0) - teacher
    assert float(numpy.linalg.norm(added, axis=1).mean()) == pytest.approx(0.5, rel=0.1)


def test_overlaps_worked_by_hand():
    found, expected = numpy.array([[1, 2], [3, 4]]), numpy.array([[1, 3], [4, 3]])
    assert overlap(found, expected) == 0.75
    # At depth 1 one of two lists agrees; at depth 2, three of four positions.
    assert rank_biased_overlap(found, expected, 0.5) == pytest.approx((1 * 0.5 + 0.5 * 0.75) / 1.5)


def test_alignment_ignores_scale_and_shift():
    vectors = unit(30, 5, 3)
    assert linear_cka(vectors, 7 * vectors + 2) == pytest.approx(1)
    assert linear_cka(vectors, numpy.zeros((30, 4))) == 0
    assert similarity_correlation(vectors, vectors) == pytest.approx(1)


@pytest.mark.parametrize("fields", [{"texts": 2}, {"neighbours": 0}, {"persistence": 1.0}, {"every": -1}])
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"fidelity:{next(iter(fields))} is .*; expected"):
        Fidelity(**fields)
