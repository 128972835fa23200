"""LEAF: its three distances."""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss

from leafkit.errors import OptionError
from leafkit.methods.batch import Batch
from leafkit.methods.objectives.leaf import Leaf


def batch(student, teacher):
    rows = torch.arange(len(student))
    facts = dict.fromkeys(("roles", "rows", "labels", "domains", "origin"), rows)
    return Batch(student=student, teacher=teacher, raw=student, hidden=student, features={}, **facts)


def losses(distance, student, teacher):
    return Leaf(distance=distance).terms(batch(student, teacher))["leaf"]


def unit(rows, dim, seed):
    draw = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, dim, generator=draw, dtype=torch.float64), dim=-1)


@pytest.fixture
def pair():
    return unit(7, 5, seed=0), unit(7, 5, seed=1)


def test_on_unit_vectors_the_square_is_twice_the_cosine_distance(pair):
    assert torch.allclose(losses("squared", *pair), 2 * losses("cosine", *pair))
    assert torch.allclose(losses("norm", *pair).square(), losses("squared", *pair))


@pytest.mark.parametrize("distance", ["norm", "squared", "cosine"])
def test_rotating_both_spaces_does_not_change_the_loss(distance, pair):
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    student, teacher = pair
    assert torch.allclose(losses(distance, student @ rotation, teacher @ rotation), losses(distance, *pair))


@pytest.mark.parametrize("distance", ["norm", "squared", "cosine"])
def test_a_perfect_student_has_zero_loss_and_zero_gradient(distance, pair):
    student = pair[1].clone().requires_grad_()
    loss = losses(distance, student, pair[1])
    loss.sum().backward()
    assert torch.allclose(loss, torch.zeros(7, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(student.grad, torch.zeros_like(student), atol=1e-6)


def test_the_gradient_of_the_norm_keeps_its_length_as_the_error_shrinks(pair):
    for shrink in (1.0, 1e-3, 1e-6):
        student = (pair[1] + shrink * (pair[0] - pair[1])).requires_grad_()
        losses("norm", student, pair[1]).sum().backward()
        assert torch.allclose(student.grad.norm(dim=-1), torch.ones(7, dtype=torch.float64))


@pytest.mark.parametrize(("distance", "metric"), [("norm", "l2"), ("cosine", "cosine")])
def test_the_mean_equals_the_loss_of_sentence_transformers(distance, metric, tiny_teacher):
    model = SentenceTransformer(str(tiny_teacher), device="cpu").eval()
    features = model.preprocess(["a list", "the file of a user"])
    target = unit(2, 32, seed=3).float()
    rival = EmbedDistillLoss(model, distance_metric=metric)([dict(features)], target)
    student = model(dict(features))["sentence_embedding"]
    assert torch.allclose(losses(distance, student, target).mean(), rival, atol=1e-6)


def test_hand_values():
    student, teacher = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    assert losses("norm", student, teacher).tolist() == pytest.approx([5.0, 2**0.5])
    assert losses("squared", student, teacher).tolist() == pytest.approx([25.0, 2.0])
    assert losses("cosine", student, teacher).tolist() == pytest.approx([1.0, 1.0])


def test_an_unknown_distance_is_refused():
    with pytest.raises(OptionError, match=r"leaf:distance is .*; expected norm, squared, cosine"):
        Leaf(distance="manhattan")
