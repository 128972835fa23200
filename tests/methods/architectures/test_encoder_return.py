"""Return of the Encoder: equal sizes, what a token may see, and the vector of the last token."""

import numpy
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import BertConfig, BertModel

from leafkit.errors import OptionError
from leafkit.methods.architectures.encoder_return import EncoderReturn, split
from leafkit.methods.budget import Budget, parse_budget
from leafkit.students.encoder import open_student
from leafkit.training.distill import distill

SHARED = {"vocab_size": 100, "pad_token_id": 0, "max_position_embeddings": 64}


@pytest.fixture(scope="module")
def teacher(tiny_teacher):
    return SentenceTransformer(str(tiny_teacher), device="cpu")


def pick(teacher, budget="100k params", **fields):
    return EncoderReturn(width=32, **fields).pick(teacher, ["a text"], parse_budget(budget), 0)


def layers(model):
    return sum(value.numel() for name, value in model.named_parameters() if not name.startswith("embeddings."))


def built(picked):
    torch.manual_seed(0)
    return BertModel(BertConfig(**picked.config), add_pooling_layer=False).eval()


def test_all_kinds_have_as_many_parameters_in_their_layers(teacher):
    both, causal, query, document = (
        layers(built(pick(teacher, **fields)))
        for fields in ({}, {"attention": "causal"}, {"tower": "query"}, {"tower": "document"})
    )
    # Attention 4 h^2 + 4 h, feed-forward 8 h^2 + 5 h, two norms 4 h: 12,704 for a width of 32, so 7 layers fit.
    assert both == causal == query + document == 7 * (12 * 32**2 + 13 * 32) <= 100_000
    assert query < document


@pytest.mark.parametrize(("total", "queries"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (12, 4)])
def test_a_third_of_the_layers_is_for_queries(total, queries):
    assert split(total, "query") == queries
    assert split(total, "query") + split(total, "document") == split(total, "both") == total
    assert abs(split(total, "query") - total / 3) <= 0.5


@pytest.mark.parametrize("attention", ["bidirectional", "causal"])
def test_only_a_causal_student_cannot_see_later_tokens(attention, teacher):
    model = built(pick(teacher, attention=attention))
    ids = torch.tensor([[2, 5, 6, 7, 3], [2, 5, 6, 8, 3]])
    with torch.inference_mode():
        one, other = model(input_ids=ids).last_hidden_state
    changed = (one - other).abs().amax(dim=-1) > 1e-5
    assert changed.tolist() == [attention == "bidirectional"] * 3 + [True, True]


def test_padding_on_either_side_gives_the_same_vector(teacher):
    states = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
    pooling = Pooling(8, pick(teacher, pooling="lasttoken").pooling)
    found = {}
    for side in ("left", "right"):
        mask, padded = torch.zeros(3, 6, dtype=torch.int64), torch.zeros(3, 6, 8)
        for row, length in enumerate((4, 2, 1)):
            places = slice(6 - length, 6) if side == "left" else slice(0, length)
            mask[row, places], padded[row, places] = 1, states[row, :length]
        found[side] = pooling({"token_embeddings": padded, "attention_mask": mask})["sentence_embedding"]
    assert torch.equal(found["left"], found["right"])
    assert torch.equal(found["left"], states[[0, 1, 2], [3, 1, 0]])


def test_the_time_is_limited_for_one_tower_and_the_parameters_for_both(monkeypatch):
    monkeypatch.setattr(
        "leafkit.methods.architectures.diswot.Cost._milliseconds", lambda _self, shape: 0.5 * shape.layers
    )
    budget = Budget(parameters=100_000, milliseconds=1.2)
    counts = {
        tower: EncoderReturn(width=32, tower=tower).shape(SHARED, budget).layers
        for tower in ("both", "query", "document")
    }
    assert counts == {"both": 2, "query": 2, "document": 2}
    assert EncoderReturn(width=32).shape(SHARED, Budget(milliseconds=5.1)).layers == 10


@pytest.mark.parametrize(
    ("budget", "fields"), [("12k params", {}), ("20k params", {"tower": "query"}), ("0.000001 ms", {})]
)
def test_a_budget_that_no_student_fits_is_refused(budget, fields, teacher):
    with pytest.raises(OptionError, match=r"a layer of width 32 has 12,704 parameters and takes .* Raise the budget"):
        pick(teacher, budget, **fields)


def test_a_causal_student_is_trained_and_its_vector_is_that_of_the_last_token(tiny_texts, tiny_teacher, tmp_path):
    architecture = "encoder_return:attention=causal,pooling=lasttoken,width=32"
    search = {"architecture": architecture, "budget": "30k params", "export": False}
    distill(tiny_texts, str(tiny_teacher), None, tmp_path / "student", **search)
    student = open_student(tmp_path / "student", device="cpu").model
    assert student[1].pooling_mode == "lasttoken"
    alone, padded = student.encode(["a text"]), student.encode(["a text", "a much longer text than the other"])[:1]
    numpy.testing.assert_allclose(alone, padded, atol=1e-5)


@pytest.mark.parametrize(
    "fields", [{"attention": "masked"}, {"pooling": "cls"}, {"tower": "third"}, {"width": 40}, {"width": 0}]
)
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"encoder_return:{next(iter(fields))} is .*; expected"):
        EncoderReturn(**fields)
