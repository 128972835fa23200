"""DisWOT: the two scores, the evolution, and the budget."""

import dataclasses
import random

import pytest
import torch
from sentence_transformers import SentenceTransformer

from leafkit.errors import OptionError
from leafkit.methods.architectures.diswot import (
    CLASSES,
    HIDDEN,
    Cost,
    Diswot,
    Shape,
    evolve,
    head_gradient,
    relation_score,
    semantic_score,
)
from leafkit.methods.budget import Budget, parse_budget
from leafkit.training.distill import distill

SHARED = {"vocab_size": 100, "pad_token_id": 0, "max_position_embeddings": 64}
SMALL = Shape(layers=1, hidden=32, heads=1, feed_forward=1)


def features(rows, width, seed):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_without_the_table_only_the_layers_count():
    cost = Cost(SHARED, Budget(), "left_out")
    wide = dataclasses.replace(SMALL, hidden=64)
    # Attention 4 h^2 + 4 h, feed-forward 2 f h^2 + (f + 1) h, two norms 4 h, for a width h and a factor f.
    assert cost.parameters(SMALL) == 6 * 32**2 + 10 * 32
    assert cost.parameters(wide) == 6 * 64**2 + 10 * 64
    assert Cost(SHARED, Budget()).parameters(SMALL) > cost.parameters(SMALL) + 100 * 32
    tight = Budget(parameters=7000)
    assert Cost(SHARED, tight, "left_out").fits(SMALL)
    assert not Cost(SHARED, tight).fits(SMALL)


def test_a_scaled_rotation_has_the_best_relation_score():
    teacher = features(20, 8, 0)
    rotation = torch.linalg.qr(features(8, 8, 1))[0]
    assert abs(float(relation_score(teacher, 3 * teacher @ rotation))) < 1e-28
    wide = torch.cat([3 * teacher @ rotation, torch.zeros(20, 5, dtype=torch.float64)], dim=1)
    assert abs(float(relation_score(teacher, wide))) < 1e-28


def test_other_features_score_lower_and_the_score_is_symmetric():
    one, other = features(20, 8, 0), features(20, 6, 1)
    assert float(relation_score(one, other)) < -1e-3
    assert torch.allclose(relation_score(one, other), relation_score(other, one))


def test_the_scores_do_not_depend_on_the_order_of_texts():
    one, other, order = features(20, 8, 0), features(20, 6, 1), torch.randperm(20)
    assert torch.allclose(relation_score(one[order], other[order]), relation_score(one, other))
    labels = torch.arange(20) % CLASSES
    permuted = semantic_score(one[order], other[order], labels[order], 0)
    assert torch.allclose(permuted, semantic_score(one, other, labels, 0))


def test_the_head_gradient_equals_autograd_of_cross_entropy():
    vectors, labels = features(20, 6, 0), torch.arange(20) % CLASSES
    head = features(CLASSES, 6, 1).requires_grad_()
    torch.nn.functional.cross_entropy(vectors @ head.T, labels).backward()
    assert torch.allclose(head_gradient(vectors, head.detach(), labels), head.grad)


def test_equal_features_have_the_best_semantic_score():
    one, labels = features(20, 8, 0), torch.arange(20) % CLASSES
    assert float(semantic_score(one, one, labels, 0)) == 0
    assert float(semantic_score(one, features(20, 8, 1), labels, 0)) < -1e-4


def fits(most):
    return lambda shape: shape.layers * shape.hidden <= most


def test_evolution_stays_within_the_budget_and_finds_the_best_shape():
    scored = []

    def score(shape):
        scored.append(shape)
        return shape.layers * shape.hidden + shape.feed_forward

    best = evolve(score, fits(300), SMALL, Diswot(cycles=300, population=20), random.Random(0))
    seen = list(scored)
    assert all(fits(300)(shape) for shape in seen)
    assert score(best) == max(score(shape) for shape in seen)
    assert best.layers * best.hidden >= 256


def test_the_same_seed_finds_the_same_shape():
    found = [
        evolve(lambda shape: shape.hidden, fits(700), SMALL, Diswot(), random.Random(seed)) for seed in (1, 1, 2, 2)
    ]
    assert found[0] == found[1]
    assert found[2] == found[3]


def test_the_smallest_shape_is_found_if_no_other_fits():
    assert evolve(lambda shape: 0.0, lambda shape: shape == SMALL, SMALL, Diswot(), random.Random(0)) == SMALL


def test_the_parameter_count_equals_that_of_the_built_model():
    from transformers import BertConfig, BertModel

    shape = Shape(layers=2, hidden=64, heads=2, feed_forward=3)
    model = BertModel(BertConfig(**shape.config(SHARED)), add_pooling_layer=False)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert Cost(SHARED, Budget()).parameters(shape) == count
    assert Cost(SHARED, Budget(parameters=count)).fits(shape)
    assert not Cost(SHARED, Budget(parameters=count - 1)).fits(shape)


def test_a_shape_over_the_time_limit_does_not_fit():
    assert not Cost(SHARED, Budget(milliseconds=1e-6)).fits(SMALL)


def test_every_mutation_is_a_valid_model():
    draw, shape = random.Random(0), SMALL
    for _ in range(500):
        shape = shape.mutated(draw)
        assert shape.hidden in HIDDEN
        assert shape.hidden % shape.heads == 0
        assert 1 <= shape.layers <= 6


def test_pick_fits_the_budget_and_is_reproducible(tiny_teacher, sentences):
    teacher, budget = SentenceTransformer(str(tiny_teacher), device="cpu"), parse_budget("60k params")
    system = Diswot(population=4, cycles=6, inits=2)
    picked = system.pick(teacher, sentences, budget, 0)
    config = picked.config
    shape = Shape(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=config["num_attention_heads"],
        feed_forward=config["intermediate_size"] // config["hidden_size"],
    )
    assert Cost({name: config[name] for name in SHARED}, budget).fits(shape)
    assert system.pick(teacher, sentences, budget, 0) == picked
    assert dataclasses.replace(system, teacher_init="pretrained").pick(teacher, sentences, budget, 0)


def test_a_budget_that_no_student_fits_is_refused(tiny_teacher, sentences):
    teacher = SentenceTransformer(str(tiny_teacher), device="cpu")
    with pytest.raises(OptionError, match=r"no student fits the budget of .*Raise the budget"):
        Diswot().pick(teacher, sentences, parse_budget("1k params"), 0)


def test_distil_trains_the_student_that_the_search_found(tiny_texts, tiny_teacher, tmp_path):
    facts = distill(
        tiny_texts,
        str(tiny_teacher),
        None,
        tmp_path / "student",
        architecture="diswot:population=2,cycles=2,inits=1,batches=1",
        budget="100k params",
        export=False,
    )
    assert facts.training["student"].startswith("diswot:population=2")
    student = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    assert sum(p.numel() for p in student[0].parameters()) <= 100_000


@pytest.mark.parametrize("fields", [{"population": 0}, {"cycles": -1}, {"inits": 0}, {"teacher_init": "warm"}])
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"diswot:{next(iter(fields))} is .*; expected"):
        Diswot(**fields)
