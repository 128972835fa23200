"""The closed-form start of a layer: it recovers a planted map, with or without a bias."""

import weakref
from types import SimpleNamespace

import numpy
import pytest
import torch
from torch import nn

from leafkit.methods.closed_form import CHUNK, layer_states, start_linear
from leafkit.students.head import fit_head


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bias", [True, False])
def test_a_planted_map_is_recovered(bias):
    planted, layer, inputs = nn.Linear(4, 3, bias=bias), nn.Linear(4, 3, bias=bias), draw(50, 4)
    start_linear(layer, inputs, planted(inputs).detach())
    for got, expected in zip(layer.parameters(), planted.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_the_seed_draws_the_texts_that_choose_the_penalty():
    inputs, targets = draw(40, 20), draw(40, 3, seed=1)
    chosen = {}
    for seed in range(8):
        layer = nn.Linear(20, 3)
        start_linear(layer, inputs, targets, seed=seed)
        expected = fit_head(inputs.numpy(), targets.numpy(), seed=seed)
        torch.testing.assert_close(layer.weight.detach(), torch.from_numpy(expected.weight))
        chosen[expected.penalty] = layer
    assert len(chosen) > 1


def test_layer_states_are_those_of_all_chunks_and_keep_no_activations():
    texts, layer = draw(2 * CHUNK + 3, 4), nn.Linear(4, 3)
    earlier = []

    def batch(rows):
        # The graph of a chunk, with the activations of a real student, is gone before the next chunk is asked for.
        assert not any(states() for states in earlier)
        states = layer(texts[rows])
        earlier.append(weakref.ref(states))
        return SimpleNamespace(layers=(states, 2 * states))

    found = layer_states(SimpleNamespace(batch=batch), numpy.arange(len(texts)))
    assert len(earlier) == 3
    assert not any(states.requires_grad for states in found)
    for states, factor in zip(found, (1, 2), strict=True):
        torch.testing.assert_close(states, factor * layer(texts).detach())
