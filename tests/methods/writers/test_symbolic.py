"""Symbolic KD: the split of the seeds, the critic and its threshold, and the record of each written text."""

import dataclasses
import itertools
import logging
import zlib

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.files.digest import text_key
from leafkit.methods.writers.symbolic import Symbolic, fit_critic, list_prompt, split_seeds, threshold_at
from leafkit.texts.table import TextTable

WORDS = [f"word{place}" for place in range(40)]


class Answers:
    """A teacher whose vector is the mean of random vectors of words."""

    def encode(self, texts, roles):
        rows = []
        for text in texts:
            seeds = [zlib.crc32(word.encode()) for word in text.split()]
            row = sum(numpy.random.default_rng(seed).standard_normal(16) for seed in seeds)
            rows.append(row / numpy.linalg.norm(row))
        return numpy.array(rows, dtype=numpy.float32)


def corpus(count=200, queries=True):
    """Texts of growing words; every second one is a document."""
    draw, texts = numpy.random.default_rng(0), TextTable(repeated=1)
    for row in range(count):
        role = "query" if queries and row % 2 == 0 else "document"
        words = [WORDS[place] for place in (row + draw.integers(1, 4, 5).cumsum()) % 40]
        text = " ".join(words) + f" end{row}"
        texts.add(text, role, text_key(role, text), label="l", domain="d")
    return texts


def new_texts(table, given):
    return table.texts[len(given) :]


@pytest.fixture
def cloud():
    """Two overlapping clouds of vectors: given and written texts."""
    draw = numpy.random.default_rng(0)
    return draw.normal(0.5, 1, (200, 6)).astype(numpy.float32), draw.normal(-0.5, 1, (300, 6)).astype(numpy.float32)


@pytest.mark.parametrize("recall", [0.01, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_the_threshold_keeps_the_recall_of_valid_texts_to_one_text(recall, count):
    scores = numpy.random.default_rng(1).normal(size=count)
    kept = (scores >= threshold_at(scores, recall)).mean()
    assert recall <= kept + 1e-12
    assert kept <= max(recall, 1 / count) + 1 / count


def test_a_stricter_recall_keeps_a_subset():
    scores = numpy.random.default_rng(1).normal(size=50)
    candidates = numpy.random.default_rng(2).normal(size=300)
    kept = [set(numpy.flatnonzero(candidates >= threshold_at(scores, recall))) for recall in (0.2, 0.5, 0.8, 1.0)]
    assert all(few < many for few, many in itertools.pairwise(kept))


def test_the_critic_is_the_minimum_of_the_penalised_loss(cloud):
    given, made = (part.astype(float) for part in cloud)
    critic = fit_critic(*cloud)
    every = numpy.concatenate([given, made])
    mean, spread = every.mean(axis=0), every.std(axis=0)
    inputs = (every - mean) / spread
    truth = numpy.arange(len(every)) < len(given)
    weights = numpy.where(truth, 0.5 / len(given), 0.5 / len(made)) * len(every)

    def loss(slope, bias):
        margins = numpy.where(truth, 1, -1) * (inputs @ slope + bias)
        return (weights * numpy.logaddexp(0, -margins)).sum() + 0.5 * (slope**2).sum()

    slope, bias = critic.weight * spread, critic.bias + mean @ critic.weight
    best = loss(slope, bias)
    draw = numpy.random.default_rng(0)
    assert all(loss(slope + 0.01 * draw.normal(size=6), bias + 0.01 * draw.normal()) > best for _ in range(30))
    assert (critic.scores(cloud[0]) > 0).mean() > 0.8
    assert (critic.scores(cloud[1]) < 0).mean() > 0.8


@pytest.mark.parametrize("queries", [True, False])
def test_no_seed_is_in_two_parts_of_the_split(queries):
    texts = corpus(queries=queries)
    writing, fitting, testing = split_seeds(texts, 0)
    seeds = [row for row in range(200) if not queries or texts.roles[row] == "query"]
    assert sorted([*writing, *fitting, *testing]) == seeds
    assert len(fitting) == len(testing) == len(seeds) // 10
    assert not numpy.array_equal(writing, split_seeds(texts, 1)[0])


def test_a_written_text_comes_from_a_seed_of_the_writing_part_and_has_a_record():
    texts, method = corpus(), Symbolic(share=0.1, each=4, longest=16)
    rows = method.written(texts, Answers(), 0, 20)
    assert 0 < len(rows) <= 20
    writing, _, _ = split_seeds(texts, 0)
    assert {one.seed for one in rows} <= set(writing.tolist())
    assert {one.role for one in rows} == {"query"}
    assert all(one.generator == "bigrams" and one.licence and len(one.prompt) == 12 for one in rows)
    assert len({one.prompt for one in rows}) == len({one.seed for one in rows})
    assert len({one.score for one in rows}) > 1


def test_the_critic_keeps_texts_with_higher_scores_at_a_stricter_recall():
    texts, answers = corpus(), Answers()
    kept = {
        recall: Symbolic(recall=recall, each=6, longest=16).written(texts, answers, 0, 10_000)
        for recall in (0.3, 0.8, 1.0)
    }
    sets = [{one.text for one in rows} for rows in kept.values()]
    assert sets[0] < sets[1] < sets[2]
    assert min(one.score for one in kept[0.3]) > min(one.score for one in kept[0.8])


def test_the_given_texts_come_first_and_the_seed_decides_the_rest(caplog):
    texts, method = corpus(), Symbolic(share=0.1, each=4, longest=16)
    with caplog.at_level(logging.INFO, logger="leafkit"):
        found = [method.write(texts, Answers(), seed) for seed in (0, 0, 1)]
    assert found[0].texts[:200] == texts.texts
    assert (found[0].labels[:200], found[0].repeated) == (texts.labels, 1)
    assert set(found[0].domains[200:]) == {"symbolic"}
    assert len(set(found[0].keys)) == len(found[0])
    assert new_texts(found[0], texts) == new_texts(found[1], texts) != new_texts(found[2], texts)
    assert "symbolic: added 20 texts" in caplog.text
    assert caplog.text.count("the record of each written text is in") == 3


def test_sentences_are_added_without_a_teacher(caplog):
    texts = corpus(20)
    long = "Here is a sentence of a document. Here is another sentence of the document."
    texts.add(long, "document", text_key("document", long))
    method = Symbolic(generator="sentences", share=0.1)
    assert method.needs == frozenset()
    added = new_texts(method.write(texts, None, 0), texts)
    assert sorted(added) == ["Here is a sentence of a document.", "Here is another sentence of the document."]
    dataclasses.replace(method, share=1.0).write(texts, None, 0)
    assert "symbolic: got 2 texts, not 21. Raise each, recall or top_p." in caplog.text


def test_the_prompt_is_a_numbered_list_of_lines():
    assert list_prompt(["one\ntwo", "x" * 400]) == f"1. one two\n2. {'x' * 300}\n3."


def test_disabled_symbolic_writes_nothing():
    texts = corpus(10)
    assert Symbolic(**Symbolic.off).write(texts, None, 0) is texts
    assert Symbolic(share=0).needs == frozenset()
    assert Symbolic().needs == {"online"}


def test_too_few_texts_and_invalid_options_are_refused(make_setting):
    with pytest.raises(OptionError, match="symbolic got 60 texts to write from; expected 80 or more"):
        Symbolic().check(make_setting())
    with pytest.raises(OptionError, match="there is no generator 'other'"):
        Symbolic(generator="other").check(make_setting())
    Symbolic(share=0).check(make_setting())
    for field in ({"share": -1.0}, {"recall": 0.0}, {"recall": 1.1}, {"examples": 0}, {"each": 0}, {"top_p": 0.0}):
        with pytest.raises(OptionError, match=f"symbolic:{next(iter(field))} is .*; expected"):
            Symbolic(**field)
