import threading
import time
from email.utils import formatdate

import pytest

from leafkit.errors import InputError, OptionError
from leafkit.teachers.api.limits import (
    Cooldown,
    HaltedError,
    Meter,
    Price,
    dollars,
    pause_before,
    retry_after,
    seconds_of,
    tokens_of_budget,
)
from leafkit.teachers.api.tokens import TokenCounter, estimate

CENTS = Price(per_million=0.02, source="prices of then")


@pytest.mark.parametrize(
    ("budget", "tokens"),
    [("5USD", 250e6), ("0.5 usd".replace(" ", ""), 25e6), ("20M-tokens", 20e6), ("300k-tokens", 3e5), ("0USD", 0)],
)
def test_a_budget_is_money_or_tokens(budget, tokens):
    assert tokens_of_budget(budget, CENTS) == pytest.approx(tokens)


@pytest.mark.parametrize("budget", ["", "5", "5EUR", "-5USD", "5 dollars", "1e3USD", "nanUSD", "M-tokens"])
def test_anything_else_is_no_budget(budget):
    with pytest.raises(OptionError, match="expected an amount such as 5USD"):
        tokens_of_budget(budget, CENTS)


def test_money_needs_a_price_and_a_free_model_has_no_limit():
    with pytest.raises(OptionError, match="the price of this model is unknown"):
        tokens_of_budget("5USD", Price(per_million=None))
    assert tokens_of_budget("5USD", Price(per_million=0.0)) == float("inf")


def test_prices_read_well():
    assert CENTS.words(12_000, word="about") == "about 12,000 tokens, 0.00024 USD (prices of then)"
    assert Price(per_million=None).words(1) == "1 tokens, price unknown"
    assert [dollars(amount) for amount in (0, 0.5, 12.345, 1234)] == [
        "0.00 USD",
        "0.50 USD",
        "12.35 USD",
        "1,234.00 USD",
    ]


def test_a_meter_never_lets_more_through_than_its_limit():
    meter = Meter(limit=100)
    assert meter.reserve(60)
    assert not meter.reserve(60)
    meter.settle(60, 30, answered=True)
    assert meter.reserve(60)
    meter.settle(60, None, answered=False)
    assert (meter.sent, meter.is_counted) == (30, True)
    assert meter.reserve(70)
    assert not meter.reserve(1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1.5", 1.5),
        ("20ms", 0.02),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("-1", None),
        ("nan", None),
        ("1e9", None),
        ("soon", None),
        ("5 s", None),
        (None, None),
    ],
)
def test_durations_of_headers(text, seconds):
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds))


def test_retry_after_is_a_number_or_a_date():
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "7", "retry-after-ms": "1500"}) == 1.5
    assert retry_after({"retry-after": formatdate(time.time() + 100, usegmt=True)}) == pytest.approx(100, abs=2)
    assert retry_after({"retry-after": formatdate(0, usegmt=True)}) == 0
    assert retry_after({"retry-after": "whenever"}) is None
    assert retry_after({}) is None


def limits(kind, remaining, limit, reset):
    return {
        f"x-ratelimit-{name}-{kind}": v for name, v in (("remaining", remaining), ("limit", limit), ("reset", reset))
    }


def test_rate_limits_pause_as_long_as_the_next_request_needs():
    """A limit of 1,000 tokens comes back evenly: of 900 used, 300 are back after a third of the time."""
    assert pause_before(limits("tokens", "100", "1000", "60s"), 400) == pytest.approx(20)
    assert pause_before(limits("tokens", "400", "1000", "60s"), 400) == 0
    assert pause_before(limits("tokens", "0", "1000", "60s"), 4000) == 60
    assert pause_before(limits("requests", "0", "10", "5s"), 1) == pytest.approx(0.5)
    assert pause_before(limits("requests", "0", "?", "5s"), 1) == 5
    assert pause_before({"x-ratelimit-remaining-tokens": "0"}, 1) == 0


def test_a_pause_is_the_longest_that_anyone_asked_for_and_ends_when_the_work_does():
    now = [0.0]
    pause = Cooldown(clock=lambda: now[0])
    pause.extend(5)
    pause.extend(1)
    threading.Timer(0.02, pause.halt.set).start()
    with pytest.raises(HaltedError):
        pause.wait()
    pause.halt.clear()
    now[0] = 5.0
    pause.wait()


def test_an_estimate_is_rather_high_but_not_absurd(tiny_teacher, sentences):
    """Compared with a real tokenizer, whose vocabulary is tiny and so gives more tokens than a model's own."""
    exact = TokenCounter.open(tiny_teacher / "tokenizer.json")
    assert exact.word == "exactly"
    assert exact.counts(sentences[:20]).tolist() == [len(one) for one in exact.tokenizer.encode_batch(sentences[:20])]
    assert estimate("") == 2
    assert estimate("copy a folder") == 2 + 3
    assert estimate("日本語") == 2 + 5
    assert estimate("naïve 🙂") == 2 + 2 + 3


def test_a_tokenizer_must_be_one(tmp_path):
    with pytest.raises(InputError, match="is not a tokenizer"):
        TokenCounter.open(tmp_path / "none.json")
