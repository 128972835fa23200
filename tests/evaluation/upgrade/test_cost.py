"""What each way costs: texts, tokens, dollars and time."""

import pytest

from leafkit.evaluation.upgrade.cost import (
    TIMED_QUERIES,
    TIMED_TEXTS,
    NewModel,
    Timing,
    costs,
    encode_timed,
    measure_model,
)
from leafkit.teachers.api.limits import Price
from leafkit.vectors.cached import cached
from tests.evaluation.upgrade.spaces import Model, drawn, texts_of

TEXTS = texts_of(100)


class Paid(Model):
    """A model that charges for tokens, as an API does."""

    price = Price(per_million=2.0)

    def count(self, texts, roles):
        return texts, [len(text.split()) for text in texts]


def test_only_texts_that_were_not_cached_are_timed(tmp_path):
    encoder = cached(Model(TEXTS, drawn(100)), tmp_path)
    _, first = encode_timed(encoder, TEXTS[:40])
    vectors, second = encode_timed(encoder, TEXTS)
    assert (first.texts, second.texts, len(vectors)) == (40, 60, 100)
    assert encode_timed(encoder, TEXTS)[1].texts == 0


def test_a_few_texts_are_encoded_again_only_if_all_were_cached():
    model = Model(TEXTS, drawn(100))
    measure_model(model, Timing(texts=TIMED_TEXTS, seconds=2.0), TEXTS, [], seed=0)
    assert model.encoded == []
    found = measure_model(model, Timing(texts=TIMED_TEXTS - 1, seconds=2.0), TEXTS, TEXTS, seed=0)
    roles = [role for role, _ in model.encoded]
    assert (roles.count("document"), roles.count("query")) == (TIMED_TEXTS, TIMED_QUERIES)
    assert found.texts_per_second > 0
    assert found.query_milliseconds > 0


def test_vectors_that_are_looked_up_have_no_rate():
    model = Model(TEXTS, drawn(100))
    model.signals = frozenset({"embeddings"})
    found = measure_model(model, Timing(texts=100, seconds=2.0), TEXTS, TEXTS, seed=0)
    assert found == NewModel(
        texts_per_second=None, tokens_per_text=None, dollars_per_token=None, query_milliseconds=None
    )


def test_an_api_has_tokens_and_a_price():
    found = measure_model(Paid(TEXTS, drawn(100)), Timing(texts=100, seconds=50.0), TEXTS, TEXTS, seed=0)
    cost = costs(1_000_000, found, old_milliseconds=None, student=(0.5, 60.0))
    again = cost["re-embedding"]
    assert (again.texts, again.tokens, again.seconds) == (1_000_000, 3_000_000, 500_000)
    assert again.dollars == pytest.approx(6.0)
    assert (cost["student"].texts, cost["student"].query_milliseconds, cost["student"].training_seconds) == (0, 0.5, 60)
    assert [name for name, one in cost.items() if one.rewrites] == ["bridged documents", "re-embedding"]


def test_tokens_are_counted_as_the_model_reads_them(tiny_teacher):
    from leafkit.teachers.open import open_teacher

    found = measure_model(
        open_teacher(tiny_teacher), Timing(texts=99, seconds=1.0), ["show files", "a " * 500], [], seed=0
    )
    assert found.tokens_per_text > 30  # (a few + 64, the longest that it reads) / 2
    assert found.tokens_per_text < 40
