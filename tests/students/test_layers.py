import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel, T5Config, T5EncoderModel

from leafkit.errors import OptionError
from leafkit.students.layers import evenly_spaced, keep_layers


@given(st.integers(2, 60).flatmap(lambda total: st.tuples(st.just(total), st.integers(2, total))))
def test_the_first_and_the_last_layer_are_kept_and_gaps_differ_by_at_most_one(numbers):
    total, count = numbers
    kept = evenly_spaced(total, count)
    gaps = {after - before for before, after in itertools.pairwise(kept)}
    assert (kept[0], kept[-1], len(kept)) == (0, total - 1, count)
    assert max(gaps) - min(gaps) <= 1
    assert min(gaps) >= 1


def test_evenly_spaced_layers_by_hand():
    assert evenly_spaced(6, 3) == (0, 2, 5)
    assert evenly_spaced(12, 6) == (0, 2, 4, 7, 9, 11)  # DistilBERT's
    assert evenly_spaced(6, 6) == (0, 1, 2, 3, 4, 5)
    assert evenly_spaced(6, 1) == (0,)


@pytest.mark.parametrize("count", [0, 7])
def test_a_layer_count_outside_the_range_raises(count):
    with pytest.raises(OptionError, match="expected 1 to 6, the number of layers"):
        evenly_spaced(6, count)


def bert(layers=4):
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
        ),
        add_pooling_layer=False,
    ).eval()


def test_keeping_every_layer_changes_nothing():
    model, ids = bert(), torch.arange(8)[None]
    before = model(ids).last_hidden_state
    assert keep_layers(model, 4) == (0, 1, 2, 3)
    assert torch.equal(model(ids).last_hidden_state, before)


def test_kept_layers_are_the_original_ones_in_order_and_counted_in_the_config():
    model = bert()
    originals = list(model.encoder.layer)
    assert keep_layers(model, (1, 3)) == (1, 3)
    assert list(model.encoder.layer) == [originals[1], originals[3]]
    assert model.config.num_hidden_layers == 2


def test_a_layer_beyond_the_last_raises():
    with pytest.raises(OptionError, match="layers has 4; expected 0 to 3"):
        keep_layers(bert(), (0, 4))


def t5(layers=4):
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_heads": 2, "vocab_size": 50}
    return T5EncoderModel(T5Config(num_layers=layers, **sizes)).eval()


def modernbert(layers=4):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "vocab_size": 50, "pad_token_id": 0}
    return ModernBertModel(ModernBertConfig(num_hidden_layers=layers, **sizes)).eval()


@pytest.mark.parametrize("make", [bert, t5, modernbert])
def test_a_saved_model_with_fewer_layers_reopens_as_the_same_model(make, tmp_path):
    model, ids = make(), torch.arange(8)[None]
    keep_layers(model, (0, 2, 3))
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    assert torch.allclose(again(ids).last_hidden_state, model(ids).last_hidden_state, atol=1e-6)


@pytest.mark.parametrize("make", [t5, modernbert])
def test_a_first_layer_unlike_the_others_must_stay_the_first(make):
    with pytest.raises(OptionError, match=r"layer 1 of \w+ cannot become layer 0 of a student: .* layers=0,1$"):
        keep_layers(make(), (1, 3))


def test_a_module_list_inside_a_layer_is_not_the_list_of_layers():
    # Each of T5's blocks is a list of two: attention and feed-forward.
    model = t5(layers=2)
    assert keep_layers(model, (0,)) == (0,)
    assert len(model.encoder.block) == 1
