"""The pull of a method: gradients worked by hand, and steps of a real training."""

import pytest
import torch

from eval.screen.pull import EnoughStepsError, gradient_size, observed
from eval.screen.study import remove_training
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.objectives.taid import Taid
from leafkit.training.distill import distill
from tests.methods.conftest import make_batch, make_setting  # noqa: F401 - fixtures


def test_the_size_is_the_norm_of_the_gradient_at_the_head(make_batch):  # noqa: F811
    batch = make_batch(range(4), tokens=None)
    # d(sum of 3 h) / dh is 3 everywhere: a norm of 3 sqrt(rows x width).
    size = gradient_size(batch, {"a": (batch.hidden * 2).sum(dim=1), "b": batch.hidden.sum(dim=1)})
    assert size == pytest.approx(3 * batch.hidden.numel() ** 0.5)


def test_states_after_layers_and_states_of_tokens_count(make_batch):  # noqa: F811
    batch = make_batch(range(4))
    layers = gradient_size(batch, {"a": batch.layers[1].sum(dim=1)})
    assert layers == pytest.approx(batch.layers[1].numel() ** 0.5)
    mask = batch.tokens.mask
    mean = (batch.tokens.student * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    # A loss on the mean over the tokens has the size that it would have at the mean itself.
    assert gradient_size(batch, {"a": mean.sum(dim=1)}) == pytest.approx(mean.numel() ** 0.5)
    # The same for the states of tokens after a layer, which count special tokens where no method reads the words.
    alone, mask = make_batch(range(4), tokens=None), batch.features["attention_mask"]
    mean = (alone.states[1] * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    assert gradient_size(alone, {"a": mean.sum(dim=1)}) == pytest.approx(mean.numel() ** 0.5)


def test_a_loss_that_does_not_reach_the_student_has_no_size(make_batch):  # noqa: F811
    assert gradient_size(make_batch(range(4)), {"a": torch.ones(4)}) == 0
    assert gradient_size(make_batch(range(4)), {}) == 0


def test_the_terms_are_observed_and_restored_and_the_training_ends_after_enough_steps(make_batch):  # noqa: F811
    sizes, before = [], Leaf.terms
    batch, leaf = make_batch(range(4)), Leaf()
    with pytest.raises(EnoughStepsError), observed(Leaf, sizes.append, most=2):
        for _ in range(3):
            found = leaf.terms(batch, torch.nn.Module())
    assert Leaf.terms is before
    assert found["leaf"].shape == (4,)
    assert len(sizes) == 2


def test_the_first_steps_of_a_real_training_are_observed(tmp_path, tiny_teacher, tiny_texts):
    sizes = {"leaf": [], "kl": []}
    with (
        pytest.raises(EnoughStepsError),
        observed(Leaf, sizes["leaf"].append, most=3),
        observed(Taid, sizes["kl"].append),
    ):
        distill(
            str(tiny_texts),
            str(tiny_teacher),
            "teacher:layers=1",
            tmp_path / "out",
            methods=["leaf", "taid:count=8,weight=1e-6"],
            batch_size=8,
            export=False,
        )
    assert len(sizes["leaf"]) == 3
    assert len(sizes["kl"]) >= 3
    assert all(0 < size < 100 for size in (*sizes["leaf"], *sizes["kl"]))


def test_what_an_interrupted_training_left_is_removed(tmp_path):
    student = tmp_path / "pull-picked-plain-ofa"
    for name in (".pull-picked-plain-ofa.run", "pull-picked-plain-ofa", "pull-picked-plain-taid"):
        (tmp_path / name).mkdir()
    remove_training(student)
    assert [path.name for path in tmp_path.iterdir()] == ["pull-picked-plain-taid"]
