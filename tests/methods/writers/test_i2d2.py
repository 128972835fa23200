"""I2D2: the constraints of queries, the round trip that never changes, and rounds in which the generator learns."""

import logging
import zlib

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.files.digest import text_key
from leafkit.methods.writers.i2d2 import (
    COPIED,
    LONGEST,
    SHORTEST,
    I2d2,
    Rounds,
    RoundTrip,
    copied_runs,
    is_content,
    query_constraints,
    stem,
    words_of,
)
from leafkit.texts.table import TextTable

DOCUMENT = "The cats of the old harbour sleep on warm stones, and the fishermen feed them every morning."
FIELDS = {"width": 2, "most": 7, "rounds": 1}


class Answers:
    """A teacher whose vector is the mean of random vectors of words."""

    def encode(self, texts, roles):
        rows = []
        for text in texts:
            seeds = [zlib.crc32(word.encode()) for word in text.split()]
            row = sum(numpy.random.default_rng(seed).standard_normal(24) for seed in seeds)
            rows.append(row / numpy.linalg.norm(row))
        return numpy.array(rows, dtype=numpy.float32)


@pytest.fixture
def texts():
    """Forty documents about ten things, and forty queries."""
    draw, made = numpy.random.default_rng(0), TextTable()
    for row in range(40):
        thing = f"thing{row % 10}"
        document = " ".join([thing, *(f"fact{row % 10}x{place}" for place in draw.permutation(8)), f"number{row}"])
        query = f"what is the {thing} of fact{row % 10}x{row % 8}"
        for role, text in (("document", document), ("query", f"{query} in {row}")):
            made.add(text, role, text_key(role, text))
    made.pairs = numpy.array([[1, 0]])
    return made


@pytest.fixture
def rounds(texts):
    return Rounds(I2d2(**FIELDS), texts, Answers(), 0)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("where do cats sleep", True),
        ("where does a cat sleep", True),
        ("cats sleep there", False),
        ("what do the dogs of it eat", False),
        ("why the cats of the new harbour sleep", True),
        ("why the cats of the old harbour sleep", False),
        (" ".join(["cats"] * 16), True),
        (" ".join(["cats"] * 17), False),
    ],
)
def test_hand_values_of_the_constraints(text, valid):
    assert query_constraints(DOCUMENT).complete(text) == valid


def test_every_beginning_of_a_valid_query_is_allowed_and_no_beginning_of_a_copy():
    rules = query_constraints(DOCUMENT)
    words = "where in the old harbour do the cats sleep".split()
    assert all(rules.allowed(" ".join(words[:count])) for count in range(len(words) + 1))
    assert [rules.fulfilled(" ".join(words[:count])) for count in (2, 4)] == [0, 1]
    assert not rules.allowed("so the fishermen feed them every morning or not")


def test_words_are_compared_without_case_punctuation_and_plural():
    assert words_of("The Cats' stones, (warm)!") == ["the", "cats", "stones", "warm"]
    assert stem("cats") == stem("cat")
    assert [is_content(word) for word in ("cat", "of", "the", "would", "ox")] == [True, False, False, False, False]
    assert copied_runs("a b c d e f") == {tuple("abcde"), tuple("bcdef")}
    assert copied_runs("a b c d") == set()


def test_every_query_fulfils_every_constraint_and_names_its_document(rounds, texts):
    queries = rounds.queries(numpy.arange(40))
    assert len(queries) >= 20
    for one in queries:
        words, document = one.text.split(), texts.texts[one.seed]
        assert texts.roles[one.seed] == "document"
        assert SHORTEST <= len(words) <= LONGEST
        assert {stem(word) for word in words_of(one.text) if is_content(word)} & {stem(w) for w in words_of(document)}
        runs = {tuple(words_of(document)[place : place + COPIED]) for place in range(6)}
        assert not runs & copied_runs(one.text)


def test_the_critic_ranks_as_sorting_does_and_cannot_change():
    draw = numpy.random.default_rng(0)
    vectors, queries = draw.normal(size=(30, 5)).astype("f4"), draw.normal(size=(12, 5)).astype("f4")
    places = draw.integers(30, size=12)
    critic = RoundTrip(vectors, 3)
    order = numpy.argsort(-queries @ vectors.T, axis=1)
    expected = [order[row].tolist().index(place) + 1 for row, place in enumerate(places)]
    assert critic.ranks(queries, places).tolist() == expected
    before = critic.identity
    vectors[:] = 0
    assert critic.identity == before != RoundTrip(vectors, 3).identity
    with pytest.raises(ValueError, match="read-only"):
        critic._vectors[0] = 1


def test_only_queries_that_find_their_document_are_kept(rounds):
    queries = rounds.queries(numpy.arange(40))
    kept = rounds.kept(queries)
    assert 0 < len(kept) < len(queries)
    assert all(1 <= -one.score <= 3 for one in kept)
    assert rounds.kept([]) == []
    rounds.critic.nearest = 40
    assert len(rounds.kept(queries)) == len(queries)


def test_the_generator_learns_in_each_round_and_the_critic_stays(texts, caplog, monkeypatch):
    learned = []
    monkeypatch.setattr("leafkit.methods.ngrams.Ngrams.learn", lambda self, examples, seed: learned.append(examples))
    with caplog.at_level(logging.INFO, logger="leafkit"):
        rows = Rounds(I2d2(**FIELDS | {"rounds": 2}), texts, Answers(), 0).written(15)
    assert len(learned) == 2
    lines = [line for line in caplog.messages if "queries for held-out documents" in line]
    assert [line.partition(":")[2].partition(":")[0] for line in lines] == [" round 0", " round 1", " round 2"]
    assert len({line.partition("critic ")[2].partition(",")[0] for line in lines}) == 1
    assert {one.round for one in rows} == {2}
    # Held-out documents show the acceptance; the generator learns from none of them, and no query is for one.
    held = numpy.flatnonzero(texts.role_ids() == 1)[numpy.random.default_rng([0, 67]).permutation(40)[:4]]
    assert not {one.seed for one in rows} & set(held.tolist())
    assert not {prompt for prompt, _ in learned[0]} & {f"Passage: {texts.texts[row]}\nQuestion:" for row in held}


def test_a_generator_that_learned_good_queries_is_kept_more_often(texts):
    rounds = Rounds(I2d2(**FIELDS), texts, Answers(), 0)
    before = rounds.acceptance(numpy.arange(20))
    kept = rounds.kept(rounds.queries(numpy.arange(20, 40)))
    rounds.generator.learn([("", one.text) for one in kept] * 3, 0)
    assert rounds.acceptance(numpy.arange(20)) > before


def test_queries_follow_the_given_texts_in_pairs_with_their_documents(texts):
    method = I2d2(share=0.1, **FIELDS)
    table = method.write(texts, Answers(), 0)
    assert table.texts[:80] == texts.texts
    assert 80 < len(table) <= 88
    assert set(table.domains[80:]) == {"i2d2"}
    assert table.pairs[0].tolist() == [1, 0]
    assert [query for query, _ in table.pairs[1:].tolist()] == list(range(80, len(table)))
    assert all(table.roles[document] == "document" for _, document in table.pairs[1:].tolist())
    assert method.write(texts, Answers(), 0).texts == table.texts


def test_sentences_are_the_plain_rival(texts):
    long = "Here is a sentence of a document. Here is another sentence of the document."
    texts.add(long, "document", text_key("document", long))
    table = I2d2(generator="sentences", share=0.5).write(texts, None, 0)
    assert table.pairs[1:].tolist() == [[81, 80], [82, 80]]


def test_disabled_i2d2_writes_nothing(texts, make_setting):
    off = I2d2(**I2d2.off)
    assert off.write(texts, None, 0) is texts
    assert off.needs == I2d2(generator="sentences").needs == frozenset()
    assert I2d2().needs == {"online"}
    off.check(make_setting(roles=numpy.zeros(120, dtype=int)))


def test_too_few_documents_and_invalid_options_are_refused(make_setting):
    with pytest.raises(OptionError, match="i2d2 got 0 documents to write queries for; expected 20 or more"):
        I2d2().check(make_setting(roles=numpy.zeros(120, dtype=int)))
    with pytest.raises(OptionError, match="there is no generator 'other'"):
        I2d2(generator="other").check(make_setting())
    for field in ({"share": -1.0}, {"rounds": -1}, {"nearest": 0}, {"width": 0}, {"most": 3}):
        with pytest.raises(OptionError, match=f"i2d2:{next(iter(field))} is .*; expected"):
            I2d2(**field)
