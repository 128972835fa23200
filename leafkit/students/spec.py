"""Parse the user's ``student`` argument: an existing model, some of its layers, a new model, or a token table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from leafkit.errors import OptionError

Pooling = Literal["mean", "cls", "lasttoken"]

FORMS = """  PATH_OR_HUB_ID               any sentence-transformers or transformers model, also package:NAME; a finished
                               student is trained further, even if it has only ONNX files, like bge-small-leaf
  PATH_OR_HUB_ID:layers=3      three evenly spaced layers of the model, including the first and the last
  PATH_OR_HUB_ID:layers=0,2,5  exactly these layers of the model, counted from 0
  PATH_OR_HUB_ID:layers=3,pick=greedy
                               the three layers with which the student starts nearest to the teacher; the search
                               takes minutes and saves many more minutes of training
  teacher:layers=3             three evenly spaced layers of the teacher's own model
  PATH_OR_HUB_ID:pooling=cls   pool the first token (cls) or the mean of all tokens (mean) instead of the model's own
                               pooling; combined with layers: teacher:layers=3,pooling=mean
  fresh:CONFIG.json            a new transformer built from a config (or from a folder that holds config.json)
  static, static:dim=256       a table of token vectors; add tokenizer=PATH if the teacher has no tokenizer"""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """An existing model: ``source`` is a folder, a hub id or ``teacher``.

    ``layers`` is a number of layers to keep, a tuple of exactly these layers, or None for all. ``pick`` chooses the
    layers if ``layers`` is a number: ``even`` takes evenly spaced ones, ``greedy`` lets `leafkit.training.pick` choose.
    ``pooling`` is ``mean``, ``cls`` or None for the model's own.
    """

    source: str
    layers: int | tuple[int, ...] | None = None
    pick: str = "even"
    pooling: str | None = None


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """A new transformer: ``config`` is a config.json or a folder that holds one.

    ``pooling`` is ``mean``, ``cls`` (the first token) or ``lasttoken`` (the last one). ``weights`` is a folder with the
    weights of such a transformer, as transformers saves them; None for random weights.
    """

    config: str
    pooling: Pooling = "mean"
    weights: str | None = None


@dataclass(frozen=True, kw_only=True)
class Static:
    """A table of ``dim`` numbers per token, averaged over a text; ``tokenizer`` is the teacher's if None."""

    dim: int = 256
    tokenizer: str | None = None


StudentSpec = Pretrained | Fresh | Static


def parse_student(text: str) -> StudentSpec:
    """Parse the student ``text``; raise `OptionError` with a list of all forms if ``text`` has another form."""
    head, settings = _split(text)
    if head == "static":
        return _static(text, settings)
    if head.startswith("fresh:") and not settings:
        if not head.removeprefix("fresh:"):
            raise _unknown(text, "fresh: needs a config.json or a folder after the colon")
        return Fresh(config=head.removeprefix("fresh:"))
    unknown = set(settings) - {"layers", "pick", "pooling"}
    if unknown or head.startswith("fresh:"):
        raise _unknown(text, f"{head} has no option {', '.join(sorted(unknown or settings))}")
    if not head:
        raise _unknown(text, "the name of the model is missing")
    layers = _layers(text, settings["layers"]) if "layers" in settings else None
    pooling = settings.get("pooling")
    if pooling not in (None, "mean", "cls"):
        raise _unknown(text, f"pooling is {pooling!r}; expected mean or cls")
    return Pretrained(source=head, layers=layers, pick=_pick(text, settings, layers), pooling=pooling)


def _split(text: str) -> tuple[str, dict[str, str]]:
    """Split ``a:b=1,c=2`` into ``a`` and its settings; a colon with no setting after it is part of the name."""
    head, colon, tail = text.strip().rpartition(":")
    if not colon or not re.match(r"[a-z_]+=", tail):
        return text.strip(), {}
    pairs = [part.partition("=") for part in re.split(r",(?=[a-z_]+=)", tail)]
    return head, {name: value.strip() for name, _, value in pairs}


def _static(text: str, settings: dict[str, str]) -> Static:
    unknown = set(settings) - {"dim", "tokenizer"}
    dim = settings.get("dim", "256")
    if unknown or not dim.isdecimal() or int(dim) < 1 or settings.get("tokenizer") == "":
        raise _unknown(text, "a static student takes dim=NUMBER and tokenizer=PATH")
    return Static(dim=int(dim), tokenizer=settings.get("tokenizer"))


def _layers(text: str, value: str) -> int | tuple[int, ...]:
    parts = value.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise _unknown(text, f"layers is {value!r}; expected a number of layers or a list of positions")
    numbers = tuple(int(part) for part in parts)
    if len(numbers) == 1:
        if numbers[0] < 1:
            raise _unknown(text, "layers is 0; expected at least 1")
        return numbers[0]
    if list(numbers) != sorted(set(numbers)):
        raise _unknown(text, f"layers is {value!r}; expected each position once and in ascending order")
    return numbers


def _pick(text: str, settings: dict[str, str], layers: int | tuple[int, ...] | None) -> str:
    pick = settings.get("pick", Pretrained.pick)
    if pick not in ("even", "greedy"):
        raise _unknown(text, f"pick is {pick!r}; expected even or greedy")
    if "pick" in settings and not isinstance(layers, int):
        raise _unknown(text, f"pick={pick} needs the number of layers to keep, as in layers=3")
    return pick


def _unknown(text: str, reason: str) -> OptionError:
    return OptionError(f"unknown student {text!r}: {reason}. A student is one of:\n{FORMS}")
