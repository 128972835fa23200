"""What bounds the requests to an API: one pause for all workers, and one budget for the whole command."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from leafkit.errors import OptionError

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)(k|M|G)?-?(USD|tokens?)", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}
# "6m0s", "20ms", "1.5s", "1h2m3s", or plain seconds.
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class HaltedError(Exception):
    """The work ends because another request failed for good."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars per million tokens, and where the number comes from. ``per_million`` is None if it is unknown."""

    per_million: float | None
    source: str = ""

    def of(self, tokens: float) -> float | None:
        """Return the price of ``tokens`` in US dollars, None if it is unknown."""
        return None if self.per_million is None else tokens / 1e6 * self.per_million

    def words(self, tokens: float, *, word: str = "") -> str:
        """Return tokens and price for people, such as ``about 12,000 tokens, 0.0002 USD (prices of 2026-05)``."""
        price = self.of(tokens)
        money = "price unknown" if price is None else f"{dollars(price)} ({self.source})"
        return f"{word}{' ' if word else ''}{round(tokens):,} tokens, {money}"


def dollars(amount: float) -> str:
    """Return an amount of money with at least two digits that are not zero, such as ``0.00024 USD``."""
    digits = 2 if amount >= 1 or amount == 0 else 1 - math.floor(math.log10(amount))
    return f"{amount:,.{digits}f} USD"


def tokens_of_budget(budget: str, price: Price) -> float:
    """Return how many tokens ``budget`` buys, such as ``5USD``, ``20M-tokens`` or ``0USD``.

    Raises `OptionError` for something else, and for money without a known price.
    """
    found = _BUDGET.fullmatch(budget.strip())
    if found is None:
        raise OptionError(
            f"api_budget is {budget!r}; expected an amount such as 5USD, 0.5USD, 20M-tokens or 300k-tokens."
        )
    amount = float(found[1]) * _FACTORS[(found[2] or "").lower()]
    if found[3].lower().startswith("token"):
        return amount
    if price.per_million is None:
        raise OptionError(
            f"api_budget is {budget}, but the price of this model is unknown. Name the price in a file (--prices), or "
            "give the budget in tokens, such as 20M-tokens."
        )
    return math.inf if price.per_million == 0 and amount else amount / (price.per_million or 1) * 1e6


@dataclass(kw_only=True)
class Meter:
    """Counts the tokens sent, and tells whether ``limit`` more may be sent. Safe to use from several threads.

    sent: the tokens of answered requests: as the API counted them if it does (``is_counted``), or else as estimated.
    """

    limit: float = math.inf
    sent: float = 0
    is_counted: bool = False
    _reserved: float = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def reserve(self, tokens: int) -> bool:
        """Set ``tokens`` aside for a request; return False if they are beyond the limit."""
        with self._lock:
            if self.sent + self._reserved + tokens > self.limit:
                return False
            self._reserved += tokens
            return True

    def settle(self, reserved: int, used: int | None, *, answered: bool) -> None:
        """Replace what was ``reserved`` by the tokens ``used``, None if the API does not tell, 0 without an answer."""
        with self._lock:
            self._reserved -= reserved
            if answered:
                self.sent += reserved if used is None else used
                self.is_counted = self.is_counted or used is not None


class Cooldown:
    """One pause that all workers of a model share, so that a limit is met once and not by each of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.halt = threading.Event()  # set to end all waiting at once
        self._clock = clock
        self._until = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def halted_at_end(self) -> Iterator[None]:
        """End all waiting when the block ends, for whatever reason."""
        self.halt.clear()
        try:
            yield
        finally:
            self.halt.set()

    def extend(self, seconds: float) -> None:
        """Let no request start before ``seconds`` from now."""
        with self._lock:
            self._until = max(self._until, self._clock() + seconds)

    def wait(self) -> None:
        """Return when requests may start; raise `HaltedError` if the work has ended meanwhile."""
        while (left := self._until - self._clock()) > 0:
            self.sleep(left)
        if self.halt.is_set():
            raise HaltedError

    def sleep(self, seconds: float) -> None:
        """Wait ``seconds``; raise `HaltedError` if the work ends meanwhile."""
        if self.halt.wait(seconds):
            raise HaltedError


def seconds_of(text: str | None) -> float | None:
    """Return the seconds of a duration in a header: ``6m0s``, ``20ms`` or ``1.5``; None for anything else."""
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch(r"\d{1,9}(\.\d*)?", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a server asks to wait: a number or a date in Retry-After; None if it does not say."""
    milliseconds = seconds_of(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = seconds_of(text)
    if seconds is not None or text is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def pause_before(headers: Mapping[str, str], tokens: int) -> float:
    """Return the seconds after which the rate limits in ``headers`` allow another request of ``tokens``.

    The headers are those of OpenAI, which others copied: ``x-ratelimit-remaining-tokens``, with ``limit`` and
    ``reset``, and the same for requests. ``reset`` is the time until the whole limit is back, which comes back evenly.
    """
    pause = 0.0
    for kind, needed in (("requests", 1), ("tokens", tokens)):
        remaining, limit, reset = (
            seconds_of(headers.get(f"x-ratelimit-{name}-{kind}")) for name in ("remaining", "limit", "reset")
        )
        if remaining is None or reset is None or remaining >= needed:
            continue
        share = 1.0 if limit is None or limit <= remaining else min(1.0, (needed - remaining) / (limit - remaining))
        pause = max(pause, reset * share)
    return pause
