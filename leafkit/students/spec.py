"""What the user asks for as a student: an existing model, some of its layers, a fresh one, or a token table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from leafkit.errors import OptionError

FORMS = """  PATH_OR_HUB_ID               any sentence-transformers or transformers model, also package:NAME; a
                               student goes on where it stands, also one that came as ONNX alone, as bge-small-leaf
  PATH_OR_HUB_ID:layers=3      three evenly spaced layers of it, the first and the last among them
  PATH_OR_HUB_ID:layers=0,2,5  exactly these layers of it, counted from 0
  PATH_OR_HUB_ID:layers=3,pick=greedy
                               the three that start nearest to the teacher: minutes of search, worth many of training
  teacher:layers=3             the same of the teacher's own model
  PATH_OR_HUB_ID:pooling=cls   with the vector of the first token (cls) or the mean of all, whatever the model takes;
                               both: teacher:layers=3,pooling=mean
  fresh:CONFIG.json            a new transformer from a config (or from a folder that holds config.json)
  static, static:dim=256       a table of token vectors; add tokenizer=PATH where the teacher has no tokenizer"""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A model that exists: ``source`` is a folder, a hub id or ``teacher``.

    ``layers`` keeps that many layers (a number), exactly these (a tuple), or all (None). ``pick`` says which of so
    many: ``even`` for evenly spaced ones, ``greedy`` for those that `leafkit.training.pick` finds.
    ``pooling`` is ``mean``, ``cls`` or None: as the model itself does.
    """

    source: str
    layers: int | tuple[int, ...] | None = None
    pick: str = "even"
    pooling: str | None = None


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """A new transformer with random weights; ``config`` is a config.json or a folder that holds one."""

    config: str


@dataclass(frozen=True, kw_only=True)
class Static:
    """A table of ``dim`` numbers per token, averaged over a text; ``tokenizer`` None means the teacher's."""

    dim: int = 256
    tokenizer: str | None = None


StudentSpec = Pretrained | Fresh | Static


def parse_student(text: str) -> StudentSpec:
    """The student that ``text`` names; raises `OptionError` listing the forms if it names none."""
    head, settings = _split(text)
    if head == "static":
        return _static(text, settings)
    if head.startswith("fresh:") and not settings:
        if not head.removeprefix("fresh:"):
            raise _refusal(text, "fresh: needs a config.json or a folder after the colon")
        return Fresh(config=head.removeprefix("fresh:"))
    unknown = set(settings) - {"layers", "pick", "pooling"}
    if not head or unknown or head.startswith("fresh:"):
        raise _refusal(text, f"got {', '.join(sorted(unknown)) or 'nothing that names a model'}")
    layers = _layers(text, settings["layers"]) if "layers" in settings else None
    pooling = settings.get("pooling")
    if pooling not in (None, "mean", "cls"):
        raise _refusal(text, f"pooling={pooling} is neither mean nor cls")
    return Pretrained(source=head, layers=layers, pick=_pick(text, settings, layers), pooling=pooling)


def _split(text: str) -> tuple[str, dict[str, str]]:
    """``a:b=1,c=2`` as ``a`` and its settings; a colon with no setting after it belongs to the name."""
    head, colon, tail = text.strip().rpartition(":")
    if not colon or not re.match(r"[a-z_]+=", tail):
        return text.strip(), {}
    pairs = [part.partition("=") for part in re.split(r",(?=[a-z_]+=)", tail)]
    return head, {name: value.strip() for name, _, value in pairs}


def _static(text: str, settings: dict[str, str]) -> Static:
    unknown = set(settings) - {"dim", "tokenizer"}
    dim = settings.get("dim", "256")
    if unknown or not dim.isdecimal() or int(dim) < 1 or settings.get("tokenizer") == "":
        raise _refusal(text, "a static student takes dim=NUMBER and tokenizer=PATH")
    return Static(dim=int(dim), tokenizer=settings.get("tokenizer"))


def _layers(text: str, value: str) -> int | tuple[int, ...]:
    parts = value.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise _refusal(text, f"layers={value} is neither a number of layers nor a list of them")
    numbers = tuple(int(part) for part in parts)
    if len(numbers) == 1:
        if numbers[0] < 1:
            raise _refusal(text, "a student keeps at least one layer")
        return numbers[0]
    if list(numbers) != sorted(set(numbers)):
        raise _refusal(text, f"the layers {value} are to be named once each and in order")
    return numbers


def _pick(text: str, settings: dict[str, str], layers: int | tuple[int, ...] | None) -> str:
    pick = settings.get("pick", Pretrained.pick)
    if pick not in ("even", "greedy"):
        raise _refusal(text, f"pick={pick} is neither even nor greedy")
    if "pick" in settings and not isinstance(layers, int):
        raise _refusal(text, f"pick={pick} wants to know how many layers to keep, as in layers=3")
    return pick


def _refusal(text: str, why: str) -> OptionError:
    return OptionError(f"unknown student {text!r}: {why}. A student is one of:\n{FORMS}")
