"""The live teacher: its vectors and token states in a step, its upper layers, and the texts that feeds change."""

import dataclasses

import numpy
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import AutoModel, ModernBertConfig, T5Config, T5EncoderModel

from leafkit.errors import OptionError
from leafkit.methods.batch import View
from leafkit.teachers.open import open_teacher
from leafkit.training.active_methods import check_view
from leafkit.training.live import LiveTeacher, changed_rows, live_model, retarget
from leafkit.training.tokenizers import special_tokens
from leafkit.vectors.rotation import fit_rotation

TEXTS = ["a list", "the file of a user to remove", "sort"]


@pytest.fixture
def teacher(tiny_teacher):
    return open_teacher(tiny_teacher, device="cpu", compute="float32")


@pytest.fixture
def live(teacher):
    return LiveTeacher(live_model(teacher), "float32")


@pytest.fixture
def features(teacher):
    found = teacher.model.preprocess(TEXTS)
    return {name: found[name] for name in ("input_ids", "attention_mask")}


def parameters(live):
    return list(live.model.parameters())


def test_its_vectors_are_the_teachers(live, teacher, features):
    vectors = live.vectors(features)
    assert not vectors.requires_grad
    numpy.testing.assert_allclose(vectors.numpy(), teacher.encode(TEXTS, "document"), atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("layer", [0, 1, 2, 3, 4])
def test_running_onward_from_the_states_of_a_layer_gives_the_vectors(layer, precision, live, features):
    live.precision = precision
    states = live.states(features, layer)
    assert states.shape == (3, features["input_ids"].shape[1], 32)
    assert torch.equal(live.onward(states, features, layer), live.vectors(features))
    assert live.depth == 4


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_the_gradient_of_the_upper_layers_reaches_the_states_and_no_parameter(layer, live, features):
    states = live.states(features, layer).requires_grad_()
    live.onward(states, features, layer).sum().backward()
    mask = features["attention_mask"].bool()
    assert (states.grad[mask].abs().sum(dim=-1) > 0).all()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in parameters(live))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in live.model.modules())


def test_the_states_are_those_of_transformers(live, features):
    rival = live.model[0].model(**features, output_hidden_states=True).hidden_states
    for layer, states in enumerate(rival):
        torch.testing.assert_close(live.states(features, layer), states)


def tiny(config, folder, tokenizer):
    """A random sentence-transformers model of a transformers ``config``."""
    torch.manual_seed(0)
    kind = T5EncoderModel if isinstance(config, T5Config) else AutoModel
    (kind(config) if kind is T5EncoderModel else kind.from_config(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return SentenceTransformer(modules=[Transformer(str(folder)), Pooling(16, "mean"), Normalize()], device="cpu")


@pytest.mark.parametrize(
    "config",
    [
        T5Config(vocab_size=200, d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2),
        ModernBertConfig(
            vocab_size=200, hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2,
            pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3,
        ),
    ],
    ids=["T5, whose layers share the relative positions of the first", "ModernBERT, whose layers differ"],
)  # fmt: skip
def test_layers_that_differ_run_onward_too(config, teacher, features, tmp_path):
    live = LiveTeacher(tiny(config, tmp_path / "model", teacher.model.tokenizer), "float32")
    for layer in range(live.depth + 1):
        torch.testing.assert_close(
            live.onward(live.states(features, layer), features, layer), live.vectors(features), atol=1e-6, rtol=0
        )


def test_a_layer_that_does_not_exist_is_refused(live, features):
    with pytest.raises(OptionError, match="layer of the teacher is 5; expected 0 to 4"):
        live.states(features, 5)


def test_words_are_neither_padding_nor_special_tokens(live, teacher, features):
    features["input_ids"][0, 1] = teacher.model.tokenizer.unk_token_id
    student = torch.zeros(3, features["input_ids"].shape[1], 16)
    tokens = live.token_states(features, student)
    assert tokens.mask.sum(dim=1).tolist() == [2, 7, 1]
    assert not tokens.mask[:, 0].any()
    rival = live.model[0].model(**features).last_hidden_state
    torch.testing.assert_close(tokens.teacher, rival)
    assert not tokens.teacher.requires_grad
    assert special_tokens(teacher.model.tokenizer) == {0, 2, 3}


def test_a_teacher_stored_in_float16_computes_in_float32(tiny_teacher, features):
    half = open_teacher(tiny_teacher, device="cpu", compute="float16")
    assert next(half.model.parameters()).dtype == torch.float16
    live = LiveTeacher(live_model(half), "float32")
    assert {parameter.dtype for parameter in parameters(live)} == {torch.float32}
    states = live.states(features, 2)
    assert states.dtype == live.vectors(features).dtype == torch.float32
    assert torch.equal(live.onward(states, features, 2), live.vectors(features))


def test_bfloat16_computes_close_to_float32(live, features):
    exact = live.vectors(features)
    live.precision = "bfloat16"
    rounded = live.vectors(features)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded * exact).sum(dim=1).min() > 0.999


def test_a_rotated_space_rotates_the_vectors(teacher, features):
    rotation = fit_rotation("random", teacher.encode(TEXTS, "document"), teacher.space, seed=0)
    live = LiveTeacher(live_model(teacher), "float32", rotation)
    expected = rotation.apply(teacher.encode(TEXTS, "document"), "document")
    numpy.testing.assert_allclose(live.vectors(features).numpy(), expected, atol=1e-6)
    states = live.states(features, 1)
    torch.testing.assert_close(live.onward(states, features, 1), live.vectors(features))


def test_a_model_whose_pooling_leaves_out_the_prompt_cannot_be_live(teacher):
    teacher.model[1].include_prompt = False
    assert live_model(teacher) is None


@pytest.fixture
def view():
    """Four texts of one to four words between special tokens."""
    ids = torch.tensor([[2, 10, 3, 0, 0, 0], [2, 11, 12, 3, 0, 0], [2, 13, 14, 15, 3, 0], [2, 16, 17, 18, 19, 3]])
    rows = torch.arange(4)
    fields = dict.fromkeys(("roles", "rows", "labels", "domains", "origin"), rows)
    features = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    return View(features=features, teacher=torch.zeros(4, 2), step=0, seed=0, **fields)


def with_rows(view, rows, **changes):
    fields = {name: getattr(view, name)[rows] for name in ("teacher", "roles", "rows", "labels", "domains", "origin")}
    features = {name: value[rows].clone() for name, value in view.features.items()}
    return dataclasses.replace(view, features=features, **fields | changes)


def test_only_changed_and_added_rows_are_encoded_anew(view):
    after = with_rows(view, torch.tensor([0, 1, 2, 3, 3, 1]))
    after.features["input_ids"][2, 1] = 99
    after.features["input_ids"][5, 1] = 98
    assert changed_rows(view, after).tolist() == [2, 5]

    class Reading:
        def vectors(self, features):
            assert features["input_ids"].shape == (2, 5)  # without the padding of longer texts
            return features["input_ids"][:, 1:3].float()

    assert retarget(Reading(), view, after).teacher.tolist() == [[0, 0], [0, 0], [99, 14], [0, 0], [0, 0], [98, 12]]
    assert retarget(Reading(), view, with_rows(view, torch.arange(4))).teacher.tolist() == view.teacher.tolist()


def test_a_view_without_an_entry_for_each_row_is_refused(view):
    check_view(view, with_rows(view, torch.tensor([0, 1, 2, 3, 0])), "feed")
    for wrong in (with_rows(view, torch.arange(3)), dataclasses.replace(view, origin=torch.arange(5))):
        with pytest.raises(
            TypeError, match=r"feed returned a view with .* expected the same number of each, at least 4"
        ):
            check_view(view, wrong, "feed")


def test_padding_of_another_width_is_no_change(view):
    wider = {name: torch.nn.functional.pad(value, (0, 3)) for name, value in view.features.items()}
    assert len(changed_rows(view, dataclasses.replace(view, features=wider))) == 0
