"""The intermediate outputs of a student's forward pass."""

import pytest
import torch
from transformers import AlbertConfig

from leafkit.teachers.open import open_teacher
from leafkit.training.forward import StudentForward
from tests.fixtures.students import new_student

TEXTS = ["a list", "the file of a user to remove", "sort"]


def tensors(student):
    return {name: value for name, value in student.preprocess(TEXTS).items() if isinstance(value, torch.Tensor)}


@pytest.fixture
def student(tiny_teacher):
    return new_student("teacher:layers=2", open_teacher(tiny_teacher), tiny_teacher)


def test_all_stages_agree_with_the_vectors(student):
    forward, features = StudentForward(student, "float32").train(), tensors(student)
    outputs = forward(dict(features), layers=True)
    assert torch.equal(outputs.student, forward.vectors(dict(features)))
    assert torch.equal(outputs.hidden, forward.hidden(dict(features)))
    assert torch.allclose(torch.nn.functional.normalize(outputs.raw, dim=-1), outputs.student, atol=1e-6)


def test_layer_states_are_the_mean_over_tokens_without_padding(student):
    forward, features = StudentForward(student, "float32").train(), tensors(student)
    layers = forward(dict(features), layers=True).layers
    inputs = {name: features[name] for name in ("input_ids", "attention_mask")}
    rival = student.transformer(**inputs, output_hidden_states=True).hidden_states[1:]
    mask = features["attention_mask"][..., None]
    assert len(layers) == student.depth == 2
    for ours, theirs in zip(layers, rival, strict=True):
        assert torch.allclose(ours, (theirs * mask).sum(dim=1) / mask.sum(dim=1), atol=1e-6)
    assert forward(dict(features)).layers == ()


def test_the_states_of_each_token_after_each_layer_are_those_of_the_model(student):
    forward, features = StudentForward(student, "float32").train(), tensors(student)
    outputs = forward(dict(features), states=True)
    inputs = {name: features[name] for name in ("input_ids", "attention_mask")}
    rival = student.transformer(**inputs, output_hidden_states=True).hidden_states[1:]
    assert len(outputs.states) == 2
    for ours, theirs in zip(outputs.states, rival, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert outputs.layers == forward(dict(features), layers=True).states == ()
    # Later layers are no part of the gradient at the states, but a loss on the states reaches the layers before.
    later = torch.autograd.grad(outputs.student.sum(), outputs.states[0], retain_graph=True, allow_unused=True)
    assert later == (None,)
    outputs.states[0].sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in student.model.parameters())


def test_layer_states_pass_gradients_and_leave_no_hook(student):
    forward, features = StudentForward(student, "float32").train(), tensors(student)
    forward(dict(features), layers=True).layers[0].sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in student.model.parameters())
    assert not any(module._forward_hooks for module in student.model.modules())


def test_token_states_are_those_of_the_last_layer_and_pass_gradients(student):
    forward, features = StudentForward(student, "float32").train(), tensors(student)
    tokens = forward(dict(features), tokens=True).tokens
    assert torch.equal(tokens, student.body.first(dict(features))["token_embeddings"])
    tokens.sum().backward()
    assert all(p.grad is not None for p in student.transformer.parameters())
    assert forward(dict(features)).tokens is None


def test_token_embeddings_can_be_changed_before_the_first_layer(student):
    forward, features = StudentForward(student, "float32").train(), tensors(student)
    plain, seen = forward.vectors(dict(features)), []

    def halve(states):
        seen.append(states.shape)
        return states / 2

    assert torch.equal(forward(dict(features), embed=lambda states: states).student, plain)
    halved = forward(dict(features), embed=halve).student
    assert seen == [(*features["input_ids"].shape, 32)]
    assert torch.equal(forward.vectors(dict(features)), plain)
    student.table_weight.data /= 2
    torch.testing.assert_close(forward.vectors(dict(features)), halved)


def test_a_token_table_has_no_embeddings_to_change(tiny_teacher):
    table = new_student("static:dim=8", open_teacher(tiny_teacher), tiny_teacher)
    with pytest.raises(TypeError, match="no transformer"):
        StudentForward(table, "float32")(table.preprocess(TEXTS), embed=lambda states: states)


def test_layers_with_shared_weights_are_counted(tiny_teacher, tmp_path):
    sizes = {"hidden_size": 16, "embedding_size": 8, "num_attention_heads": 2, "intermediate_size": 32}
    AlbertConfig(vocab_size=200, num_hidden_layers=3, **sizes).save_pretrained(tmp_path)
    assert new_student(f"fresh:{tmp_path / 'config.json'}", open_teacher(tiny_teacher), tiny_teacher).depth == 3


def test_a_token_table_has_no_depth(tiny_teacher):
    table = new_student("static:dim=8", open_teacher(tiny_teacher), tiny_teacher)
    assert (table.kind, table.depth) == ("table", 0)


def test_the_token_table_is_the_input_embedding(tiny_teacher, student):
    assert student.token_table is student.transformer.embeddings.word_embeddings
    table = new_student("static:dim=8", open_teacher(tiny_teacher), tiny_teacher)
    assert table.token_table is table.body.first.embedding
