"""Generators, which write texts for writers: what every generator can do, how to open one, and two ways to decode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy

from leafkit.errors import OptionError
from leafkit.methods.ngrams import Ngrams
from leafkit.types import Float32

GENERATORS = """A generator is one of
  bigrams or unigrams: counts of the words in the given texts, which need no model
  a causal language model of transformers: a folder with config.json, or a file that ends with .gguf
  package:NAME, an installed Python package with one .gguf file"""


class Generator(Protocol):
    """A language model that writes token by token.

    ``name`` and ``licence`` go into the record of each text. ``ends`` are the tokens that end a text.
    """

    name: str
    licence: str
    ends: frozenset[int]

    @property
    def tokens(self) -> Sequence[str]:
        """The texts of all tokens."""
        ...

    def log_probabilities(self, prompt: str, written: Sequence[tuple[int, ...]]) -> Float32:
        """Return the log-probability of each next token, (written, tokens).

        ``written`` are the tokens that follow ``prompt`` so far, all of the same number.
        """
        ...

    def text(self, ids: Sequence[int]) -> str:
        """Return the tokens ``ids`` as a text."""
        ...

    def learn(self, examples: Sequence[tuple[str, str]], seed: int) -> None:
        """Learn to write the second text of each of ``examples`` after the first, the prompt."""
        ...


def open_generator(name: str, texts: Sequence[str]) -> Generator:
    """Open the generator ``name``; n-grams count the words of ``texts``.

    Raises `OptionError` for an unknown name, `InputError` for a model that cannot be opened, and `MissingExtraError`
    without the package that reads it.
    """
    if name in ("unigrams", "bigrams"):
        return Ngrams(texts, order=1 if name == "unigrams" else 2)
    check_generator(name)
    from leafkit.methods.causal import CausalModel

    return CausalModel.open(name)


def check_generator(name: str) -> None:
    """Raise `OptionError` if no generator is called ``name``, without opening one."""
    path = Path(name)
    is_model = name.startswith("package:") or path.suffix == ".gguf" or (path / "config.json").is_file()
    if name not in ("unigrams", "bigrams") and not is_model:
        raise OptionError(f"there is no generator {name!r}. {GENERATORS}")


def generator_identity(name: str) -> str:
    """Return ``name`` with the size and time of the file of the model, which change if another model is put there."""
    path = Path(name)
    files = [path] if path.is_file() else sorted(path.glob("*")) if path.is_dir() else []
    return " ".join([name, *(f"{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)])


def sample(
    generator: Generator, prompt: str, count: int, *, most: int, top_p: float, draw: numpy.random.Generator
) -> list[str]:
    """Return at most ``count`` texts that ``generator`` writes after ``prompt``.

    Each token is drawn from the most likely ones with a probability of ``top_p`` together. A text that has not ended
    after ``most`` tokens is left out.
    """
    running: list[tuple[int, ...]] = [()] * count
    finished: list[str] = []
    for _ in range(most):
        if not running:
            break
        different = list(dict.fromkeys(running))
        rows = dict(zip(different, generator.log_probabilities(prompt, different), strict=True))
        longer = [(*ids, draw_token(rows[ids], top_p, draw)) for ids in running]
        finished += [generator.text(ids[:-1]).strip() for ids in longer if ids[-1] in generator.ends]
        running = [ids for ids in longer if ids[-1] not in generator.ends]
    return finished


def draw_token(row: Float32, top_p: float, draw: numpy.random.Generator) -> int:
    """Draw a token from log-probabilities ``row``, among the fewest whose probabilities sum to ``top_p``."""
    order = numpy.argsort(-row, kind="stable")
    shares = numpy.exp(row[order].astype(numpy.float64))
    kept = int(numpy.searchsorted(shares.cumsum(), top_p * shares.sum())) + 1
    edges = shares[:kept].cumsum()
    return int(order[min(int(numpy.searchsorted(edges, draw.random() * edges[-1], side="right")), kept - 1)])


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What a text must fulfil.

    ``allowed`` says whether the beginning of a text can still become a valid one, ``complete`` whether a text is valid,
    and ``fulfilled`` how many of the things that it must contain the beginning of a text contains.
    """

    allowed: Callable[[str], bool]
    complete: Callable[[str], bool]
    fulfilled: Callable[[str], int]


def constrained_beams(
    generator: Generator, prompt: str, constraints: Constraints, *, width: int, most: int, tries: int = 16
) -> list[str]:
    """Return at most ``width`` valid texts of at most ``most`` tokens, by falling mean log-probability.

    Beams that contain the same number of required things compete with each other only, so that an unlikely required
    word is not lost (NeuroLogic decoding). Each beam tries its ``tries`` most likely tokens.
    """
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    found: dict[str, float] = {}
    for _ in range(most):
        rows = generator.log_probabilities(prompt, [ids for ids, _ in beams])
        groups: dict[int, list[tuple[tuple[int, ...], float]]] = {}
        for (ids, score), row in zip(beams, rows, strict=True):
            for token in likeliest(row, tries):
                total, text = score + float(row[token]), generator.text(ids).strip()
                if token in generator.ends:
                    if constraints.complete(text):
                        found[text] = max(found.get(text, -numpy.inf), total / (len(ids) + 1))
                elif constraints.allowed(longer := generator.text((*ids, token)).strip()):
                    groups.setdefault(constraints.fulfilled(longer), []).append(((*ids, token), total))
        beams = [beam for group in groups.values() for beam in sorted(group, key=lambda one: -one[1])[:width]]
        if not beams:
            break
    return sorted(found, key=lambda text: -found[text])[:width]


def likeliest(row: Float32, count: int) -> list[int]:
    """Return the ``count`` tokens with the largest of the log-probabilities ``row``, the likeliest first."""
    places = numpy.argpartition(-row, min(count, len(row)) - 1)[:count]
    return places[numpy.lexsort((places, -row[places]))].tolist()
