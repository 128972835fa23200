"""Rotations keep cosines; a map is read back from its file; a changed file raises."""

import dataclasses

import numpy
import pytest

from leafkit.errors import DamageError, OptionError, VectorError
from leafkit.space import Space
from leafkit.vectors.mapping import LinearMap, read_mapping
from leafkit.vectors.rotation import KINDS, fit_rotation

SPACE = Space(teacher="drawn", weights="name:drawn", dim=16, normalised=True, pooling="mean", max_length=64)


def unit(rows):
    return (rows / numpy.linalg.norm(rows, axis=1, keepdims=True)).astype(numpy.float32)


@pytest.fixture(scope="module")
def vectors():
    """Six hundred unit vectors with a common mean and uneven spread, as embeddings have them."""
    draw = numpy.random.default_rng(0)
    mixed = draw.standard_normal((600, 16)) @ (draw.standard_normal((16, 16)) * numpy.geomspace(1, 0.05, 16))
    return unit(mixed + draw.standard_normal(16))


@pytest.mark.parametrize("kind", KINDS)
def test_a_rotation_keeps_cosines(kind, vectors):
    rotation = fit_rotation(kind, vectors, SPACE)
    assert rotation.dim == 16
    turned = {role: rotation.apply(vectors, role) for role in ("query", "document")}
    numpy.testing.assert_allclose(turned["query"] @ turned["document"].T, vectors @ vectors.T, atol=1e-5)
    numpy.testing.assert_allclose(rotation.documents @ rotation.documents.T, numpy.eye(16), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_vectors_and_seed_give_the_same_space(kind, vectors):
    names = [fit_rotation(kind, vectors, SPACE, seed=seed).space.id for seed in (0, 0)]
    assert names[0] == names[1] != SPACE.id
    if kind != "pca":
        assert fit_rotation(kind, vectors, SPACE, seed=1).space.id != names[0]


def test_pca_prefixes_hold_more_energy_than_other_prefixes(vectors):
    energy = {
        kind: numpy.square(fit_rotation(kind, vectors, SPACE).apply(vectors, "document")).sum(axis=0).cumsum()
        for kind in KINDS
    }
    assert (energy["pca"][:-1] > energy["random"][:-1]).all()
    assert (energy["pca"][:-1] >= energy["itq"][:-1] - 1e-3).all()
    assert (energy["pca"][:-1] >= numpy.square(vectors).sum(axis=0).cumsum()[:-1]).all()


def test_itq_vectors_are_closer_to_their_signs_than_those_of_other_rotations(vectors):
    def loss(kind):
        # Without the first component, which itq uses for the mean: the sign of a mean carries no information.
        turned = fit_rotation(kind, vectors, SPACE).apply(vectors, "document").astype(numpy.float64)
        turned = turned[:, 1:] - turned[:, 1:].mean(axis=0)
        turned /= numpy.linalg.norm(turned, axis=1, keepdims=True)
        return 1 - numpy.abs(turned).sum(axis=1).mean() / numpy.sqrt(15)

    assert loss("itq") < loss("random")
    assert loss("itq") < loss("pca")


def test_itq_puts_the_mean_into_the_first_component(vectors):
    mean = fit_rotation("itq", vectors, SPACE).apply(vectors, "document").mean(axis=0)
    numpy.testing.assert_allclose(mean[1:], 0, atol=1e-5)
    assert abs(mean[0]) == pytest.approx(numpy.linalg.norm(vectors.mean(axis=0)), rel=1e-4)


def test_a_map_is_read_back_from_its_file(vectors, tmp_path):
    rotation = fit_rotation("itq", vectors, SPACE)
    rotation.save(tmp_path)
    again = read_mapping(tmp_path, rotation.space)
    assert again.space == rotation.space
    numpy.testing.assert_array_equal(again.apply(vectors, "query"), rotation.apply(vectors, "query"))


def test_a_space_without_rotation_needs_no_file(tmp_path):
    assert read_mapping(tmp_path, SPACE) is None


@pytest.mark.parametrize("position", [0.2, 0.5, 0.9])
def test_a_map_with_a_changed_byte_raises(vectors, tmp_path, position):
    rotation = fit_rotation("random", vectors, SPACE)
    rotation.save(tmp_path)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[int(position * len(content))] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamageError, match=r"mapping.npz"):
        read_mapping(tmp_path, rotation.space)


def test_the_map_of_another_space_raises(vectors, tmp_path):
    fit_rotation("random", vectors, SPACE).save(tmp_path)
    with pytest.raises(DamageError, match=r"is the mapping random:.*; expected random:"):
        read_mapping(tmp_path, fit_rotation("random", vectors, SPACE, seed=1).space)


@pytest.mark.parametrize("case", ["shape", "dtype", "nan", "one axis"])
def test_invalid_matrices_raise_even_with_a_matching_name(vectors, tmp_path, case):
    rotation = fit_rotation("random", vectors, SPACE)
    queries = {
        "shape": rotation.queries.reshape(32, 8),
        "dtype": rotation.queries.astype(numpy.float64),
        "nan": numpy.full_like(rotation.queries, numpy.nan),
        "one axis": rotation.queries.ravel(),
    }[case]
    wrong = dataclasses.replace(rotation, queries=queries)
    wrong.save(tmp_path)
    with pytest.raises(DamageError, match="expected finite float32 of shape"):
        read_mapping(tmp_path, wrong.space)


def test_the_composition_of_two_maps_equals_both_maps_in_turn(vectors):
    first, second = (fit_rotation("random", vectors, SPACE, seed=seed) for seed in (1, 2))
    second = LinearMap(base=first.space, kind="random", documents=second.documents, queries=second.queries)
    both = second.after(first)
    assert both.base == SPACE
    in_turn = second.apply(first.apply(vectors, "document"), "document")
    numpy.testing.assert_allclose(both.apply(vectors, "document"), in_turn, atol=1e-6)


def test_a_rotation_that_cannot_be_fitted_raises(vectors):
    with pytest.raises(OptionError, match="unknown rotation 'pac'; expected one of pca, itq, random"):
        fit_rotation("pac", vectors, SPACE)
    with pytest.raises(OptionError, match="there are 15 vectors to fit"):
        fit_rotation("pca", vectors[:15], SPACE)
    with pytest.raises(VectorError, match="the vectors have the width 8; expected 16"):
        fit_rotation("pca", vectors, SPACE).apply(vectors[:, :8], "query")
