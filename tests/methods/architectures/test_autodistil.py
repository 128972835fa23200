"""AutoDistil: subnets as slices of one network, what each step trains, the relations, and the picked weights."""

import dataclasses

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch.nn.functional import linear, normalize
from transformers import BertConfig, BertModel

from leafkit.errors import OptionError
from leafkit.methods.architectures import autodistil
from leafkit.methods.architectures.autodistil import (
    Autodistil,
    SuperNet,
    TeacherTexts,
    held_out_cosine,
    layer_parameters,
    relation_loss,
    relations,
    sandwich,
    subnets,
)
from leafkit.methods.architectures.diswot import Cost, Shape
from leafkit.methods.budget import Budget, parse_budget
from leafkit.training.distill import distill

SHARED = {"vocab_size": 60, "pad_token_id": 0, "max_position_embeddings": 16}
LARGEST = Shape(layers=4, hidden=32, heads=4, feed_forward=2)
SOME = Shape(layers=2, hidden=24, heads=2, feed_forward=1)
FEATURES = {
    "input_ids": torch.tensor([[2, 5, 9, 3], [2, 7, 3, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
}
SMALL_SPACE = {"mini": ((1, 2), (16, 24), (1, 2), (1, 2))}


@pytest.fixture
def net():
    return SuperNet(SHARED, LARGEST, 8, seed=0)


@pytest.fixture(scope="module")
def teacher(tiny_teacher):
    return SentenceTransformer(str(tiny_teacher), device="cpu")


@pytest.fixture
def small(monkeypatch):
    """Spaces of sixteen small subnets, and few texts."""
    monkeypatch.setattr(autodistil, "SPACES", SMALL_SPACE)
    monkeypatch.setattr(autodistil, "HELD_OUT", 16)
    monkeypatch.setattr(autodistil, "BATCH", 8)
    return Autodistil(steps=3, texts=80, table="left_out")


@pytest.mark.parametrize("shape", [SOME, LARGEST, Shape(layers=3, hidden=16, heads=4, feed_forward=2)])
def test_an_extracted_subnet_equals_the_network_at_that_setting(shape, net):
    states = net.extracted(shape)(**FEATURES).last_hidden_state
    mask = FEATURES["attention_mask"][..., None]
    pooled = (states * mask).sum(dim=1) / mask.sum(dim=1)
    alone = normalize(linear(pooled, net.bridge.weight[:, : shape.hidden], net.bridge.bias), dim=-1)
    torch.testing.assert_close(net(FEATURES, shape), alone, rtol=0, atol=1e-6)


def test_layers_are_taken_at_even_distances(net):
    own = dict(net.body.named_parameters())
    for layers, expected in ((1, [0]), (2, [0, 2]), (3, [0, 1, 2]), (4, [0, 1, 2, 3])):
        slices = net.slices(dataclasses.replace(LARGEST, layers=layers))
        name = "encoder.layer.{}.output.dense.weight"
        found = [slices[name.format(place)] for place in range(layers)]
        assert all(torch.equal(one, own[name.format(layer)]) for one, layer in zip(found, expected, strict=True))


def test_gradients_outside_the_slice_are_zero(net):
    net(FEATURES, SOME).square()[:, 0].sum().backward()
    own = {name: value.grad for name, value in net.body.named_parameters()}
    assert own["encoder.layer.1.output.dense.weight"] is None
    assert own["encoder.layer.3.output.dense.weight"] is None
    query = own["encoder.layer.2.attention.self.query.weight"]
    assert query[:24, :24].abs().sum() > 0
    for gradient in (query, net.bridge.weight.grad[None]):
        assert gradient[..., 24:].abs().max() == 0
    assert query[24:].abs().max() == 0
    assert own["embeddings.word_embeddings.weight"][:, 24:].abs().max() == 0
    assert own["embeddings.word_embeddings.weight"][30:].abs().max() == 0


@pytest.mark.parametrize("space", list(autodistil.SPACES))
def test_a_space_has_256_subnets_ordered_by_their_parameters(space):
    shapes = subnets(space)
    counts = [layer_parameters(shape) for shape in shapes]
    assert len(set(shapes)) == 256
    assert counts == sorted(counts)
    some = range(0, 256, 85)
    assert [counts[n] for n in some] == [Cost(SHARED, Budget(), "left_out").parameters(shapes[n]) for n in some]
    assert all(shape.hidden % shape.heads == 0 for shape in shapes)
    layers, hidden, heads, factor = (max(axis) for axis in autodistil.SPACES[space])
    assert shapes[-1] == Shape(layers=layers, hidden=hidden, heads=heads, feed_forward=factor)


def test_each_step_trains_the_largest_the_smallest_and_two_others():
    shapes = [Shape(layers=1, hidden=hidden, heads=1, feed_forward=1) for hidden in range(8, 28)]
    drawn = [sandwich(shapes, seed=0, step=step) for step in range(200)]
    assert all(each[:2] == [shapes[0], shapes[-1]] and len(set(each)) == 4 for each in drawn)
    assert {shape for each in drawn for shape in each} == set(shapes)
    assert drawn[7] == sandwich(shapes, seed=0, step=7) != sandwich(shapes, seed=1, step=7)


def test_relations_are_scaled_products_of_twelve_parts():
    vectors = torch.randn(2, 3, 26, generator=torch.Generator().manual_seed(0))
    found = relations(vectors)
    assert found.shape == (2, 12, 3, 3)
    part = vectors[1, :, 10:12]
    torch.testing.assert_close(found[1, 5], part @ part.T / 2**0.5)


def test_the_relation_loss_ignores_rotations_inside_parts_and_padding():
    draw = torch.Generator().manual_seed(0)
    teacher, mask = torch.randn(2, 4, 24, generator=draw), FEATURES["attention_mask"]
    turn = torch.block_diag(*[torch.linalg.qr(torch.randn(2, 2, generator=draw))[0] for _ in range(12)])
    student = teacher @ turn
    student[1, 3] = 100.0
    assert relation_loss(student, teacher, mask) < 1e-10
    assert relation_loss(student, teacher, torch.ones_like(mask)) > 1
    assert relation_loss(2 * teacher, teacher, mask) > 0.1


def test_the_first_weights_are_slices_of_the_teachers_layers(net):
    torch.manual_seed(1)
    config = {"hidden_size": 40, "num_hidden_layers": 8, "num_attention_heads": 4, "intermediate_size": 80}
    model = BertModel(BertConfig(**SHARED, **config), add_pooling_layer=False)
    net.start_from(model)
    theirs, ours = dict(model.named_parameters()), dict(net.body.named_parameters())
    for layer, source in enumerate((0, 2, 5, 7)):
        name = "encoder.layer.{}.attention.self.query.weight"
        assert torch.equal(ours[name.format(layer)], theirs[name.format(source)][:32, :32])
    # Weights that are too narrow stay as they were drawn.
    narrow = BertModel(BertConfig(**SHARED, **config | {"hidden_size": 16}), add_pooling_layer=False)
    before = ours["embeddings.word_embeddings.weight"].clone()
    net.start_from(narrow)
    assert torch.equal(ours["embeddings.word_embeddings.weight"], before)


def test_training_brings_all_sizes_nearer_to_the_teacher(small, teacher, sentences):
    data = TeacherTexts.of(teacher, sentences, 120, 0)
    shared = autodistil.shared_config(teacher)
    shapes = subnets("mini")
    net = SuperNet(shared, shapes[-1], data.targets.shape[1], 0)
    before = [held_out_cosine(net, shape, data) for shape in shapes]
    dataclasses.replace(small, steps=25, relation=0.01).train(net, shapes, data, 0)
    after = [held_out_cosine(net, shape, data) for shape in shapes]
    assert all(late > early + 0.05 for early, late in zip(before, after, strict=True))


def test_the_picked_student_fits_the_budget_is_reproducible_and_brings_its_weights(small, teacher, sentences):
    budget = parse_budget("6k params")
    picked, again = (small.pick(teacher, sentences, budget, 0) for _ in range(2))
    model = BertModel.from_pretrained(picked.weights, add_pooling_layer=False)
    layers = sum(value.numel() for name, value in model.named_parameters() if not name.startswith("embeddings."))
    assert layers <= 6000
    assert picked.config == again.config
    other = BertModel.from_pretrained(again.weights, add_pooling_layer=False)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))
    folder = again.weights
    del again
    assert not folder.exists()


def test_distil_continues_from_the_weights_of_the_picked_subnet(small, tiny_texts, tiny_teacher, tmp_path):
    facts = distill(
        tiny_texts,
        str(tiny_teacher),
        None,
        tmp_path / "student",
        architecture="autodistil:steps=3,texts=80,table=left_out",
        budget="6k params",
        epochs=1,
        export=False,
    )
    assert facts.training["student"].startswith("autodistil:steps=3")
    student = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    assert student[0].auto_model.config.hidden_size in (16, 24)


@pytest.mark.parametrize(
    ("budget", "texts", "message"),
    [
        ("100 params", 80, r"the smallest one of the space mini has .* parameters .* smaller autodistil:space"),
        ("1M params", 20, "autodistil got 20 training texts; expected at least 24"),
    ],
)
def test_a_search_that_cannot_work_is_refused(budget, texts, message, small, teacher, sentences):
    with pytest.raises(OptionError, match=message):
        small.pick(teacher, sentences[:texts], parse_budget(budget), 0)


@pytest.mark.parametrize(
    "field", [{"space": "base"}, {"steps": -1}, {"texts": 10}, {"rate": 0.0}, {"relation": -1.0}, {"start": "warm"}]
)
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"autodistil:{next(iter(field))} is .*; expected"):
        Autodistil(**field)
