"""Muon for the matrices of a transformer and AdamW for all other parameters, joined to one optimiser."""

import pytest
import torch

from leafkit.errors import OptionError
from leafkit.teachers.open import open_teacher
from leafkit.training.optimiser import adamw, muon, optimiser_of
from leafkit.training.recipe import Recipe
from tests.fixtures.students import new_student

WORDS = (
    "list show print copy move remove delete create file folder disk network image text search replace sort count "
    "compress extract archive convert video audio user group process kill start stop status server client package "
    "install update python git commit branch merge history key password encrypt sign the of to in a and"
).split()


@pytest.fixture
def student(tiny_teacher):
    teacher = open_teacher(tiny_teacher, compute="float32")
    return new_student("teacher:layers=2", teacher, tiny_teacher)


def step(student, optimiser):
    features = student.preprocess([" ".join(WORDS[start : start + 8]) for start in range(0, len(WORDS), 8)])
    # Compare one number of each vector: the gradient of a unit vector's length is rounding, which differs by processor.
    student.model(features)["sentence_embedding"][:, 0].sum().backward()
    student.linear.weight.grad.add_(0.1)
    optimiser.step()


def test_every_parameter_has_one_optimiser_and_muon_has_the_matrices_of_the_layers(student):
    optimiser = muon(student, learning_rate=0.1, weight_decay=0.01)
    names = {id(parameter): name for name, parameter in student.model.named_parameters()}
    of_muon = [names[id(p)] for p in optimiser.parts[0].param_groups[0]["params"]]
    held = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(held) == sorted(names)
    assert len(of_muon) == 2 * 6
    assert all("encoder.layer" in name and name.endswith("weight") and "LayerNorm" not in name for name in of_muon)


def test_parameters_outside_muon_move_as_with_adamw_alone(student):
    import copy

    other = copy.deepcopy(student)
    step(student, muon(student, learning_rate=1e-2, weight_decay=0.1))
    step(other, adamw(other.model, learning_rate=1e-2, weight_decay=0.1))
    pairs = dict(zip(student.model.named_parameters(), other.model.parameters(), strict=True)).items()
    differing = {name for (name, one), two in pairs if not torch.equal(one, two)}
    assert len(differing) == 2 * 6
    assert all("encoder.layer" in name for name in differing)


def test_a_step_of_muon_is_as_large_as_one_of_adamw(student):
    weight = student.transformer.encoder.layer[0].intermediate.dense.weight
    before = weight.detach().clone()
    step(student, muon(student, learning_rate=1e-2, weight_decay=0.0))
    # In the long run AdamW moves each number by 0.2 to 0.4 of the rate, and Muon's steps are scaled to match.
    assert 0.1e-2 < (weight - before).square().mean().sqrt() < 0.4e-2


def test_the_recipe_chooses_the_optimiser(student):
    assert isinstance(optimiser_of(student, Recipe()), torch.optim.AdamW)
    assert not isinstance(optimiser_of(student, Recipe(optimiser="muon")), torch.optim.AdamW)


def test_muon_raises_for_a_token_table_and_for_an_old_torch(student, tiny_teacher, monkeypatch):
    table = new_student("static:dim=8", open_teacher(tiny_teacher, compute="float32"), tiny_teacher)
    with pytest.raises(OptionError, match="but this student has none"):
        muon(table, learning_rate=0.1, weight_decay=0.0)
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(OptionError, match=r"needs torch 2.9 or newer, but this is torch \d"):
        muon(student, learning_rate=0.1, weight_decay=0.0)
