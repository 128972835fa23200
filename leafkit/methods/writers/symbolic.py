"""Symbolic KD: a language model writes texts like the given ones, and a critic keeps those that pass for given ones.

Paper: https://arxiv.org/abs/2110.07178

    prompt of a seed text: a numbered list of the seed and its nearest texts; the generator writes the next entry
    critic: logistic regression on teacher vectors, P(given | x), fitted to given texts and to written ones
    kept: P(given | x) >= the largest threshold that keeps a share ``recall`` of held-out given texts
    seeds are split before anything is written: 80 % to write from, 10 % to fit the critic, 10 % for the threshold
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.methods.generator import Generator, check_generator, generator_identity, open_generator, sample
from leafkit.methods.method import Writer
from leafkit.methods.setting import Facts
from leafkit.methods.written import (
    Written,
    cleaned,
    distinct_pairs,
    kept_on_disk,
    plain_sentences,
    prompt_id,
    vectors_id,
    with_written,
)

if TYPE_CHECKING:
    from leafkit.methods.ask import Ask
    from leafkit.texts.table import TextTable
    from leafkit.types import Float32, Int64

Floats = NDArray[Any]

# Separates the random numbers of this writer from those of others.
STREAM = 53
# Seed texts that are written from before the critic reads what was written.
CHUNK = 40
# The most seeds that the critic is fitted to, and as many for its threshold; fewer than the first are refused.
FEWEST, MOST = 8, 500
# The most characters of an entry of the prompt.
LONGEST_ENTRY = 300

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Symbolic(Writer):
    """Add written texts to the given ones, in the role of queries if there are any.

    The default generator counts words and needs no model; it is there for comparison, and so are ``unigrams`` and
    ``sentences`` (sentences of the given documents, without a critic). A language model is a .gguf file (extra
    ``write``), ``package:NAME`` or a folder of transformers. What was written is kept in leafkit's cache, in a file
    with the seed, prompt, generator, licence and score of each text. The licence of the generator may restrict what
    the texts can be used for.

    ``generator``: what writes: ``bigrams``, ``unigrams``, ``sentences``, or a model (paper: GPT-3).
    ``share``: number of written texts, as a share of the given texts; 0 disables the method (ours 0.5).
    ``recall``: share of given texts that the critic would keep, more than 0; 1 keeps all written texts (paper: 0.5 and
    0.8; ours 0.8).
    ``examples``: number of texts in the prompt, the seed among them (paper: 5).
    ``each``: number of texts written from a seed (paper: 10).
    ``longest``: largest number of tokens of a written text (paper: 12; ours 32).
    ``top_p``: each token is drawn from the likeliest ones with this probability together (paper: 0.5; ours 0.9).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2110.07178"
    elicits: ClassVar[tuple[str, ...]] = ("expansion", "curation")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {"share": 0.0}
    reconstruction: ClassVar[str] = (
        "a list of similar texts of the corpus replaces examples of events and their relations; the critic knows no "
        "ratings by people: it tells given texts from written ones by their teacher vectors, a logistic regression in "
        "the place of a fine-tuned RoBERTa-large; the student is an encoder that learns the teacher's vectors of all "
        "texts, not a language model"
    )
    small: ClassVar[Mapping[str, Any]] = {"share": 0.1, "each": 4, "longest": 16}

    generator: str = "bigrams"
    share: float = 0.5
    recall: float = 0.8
    examples: int = 5
    each: int = 10
    longest: int = 32
    top_p: float = 0.9

    def __post_init__(self) -> None:
        self.check_fields(
            {
                "share": (0 <= self.share < math.inf, "0 or more"),
                "recall": (0 < self.recall <= 1, "more than 0 and at most 1"),
                "examples": (self.examples >= 1, "1 or more texts"),
                "each": (self.each >= 1, "1 or more texts"),
                "longest": (self.longest >= 1, "1 or more tokens"),
                "top_p": (0 < self.top_p <= 1, "more than 0 and at most 1"),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """A teacher that encodes written texts, unless the texts are sentences."""
        return frozenset({"online"} if self._generates else ())

    @property
    def _generates(self) -> bool:
        return self.share > 0 and self.generator != "sentences"

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for an unknown generator, and for too few texts to fit a critic."""
        if not self._generates:
            return
        check_generator(self.generator)
        seeds = int((facts.roles == 0).sum()) or facts.texts
        if seeds < 10 * FEWEST:
            raise OptionError(f"symbolic got {seeds} texts to write from; expected {10 * FEWEST} or more.")

    def write(self, texts: TextTable, ask: Ask, seed: int) -> TextTable:
        """Return the given texts followed by the written ones."""
        count = round(self.share * len(texts))
        if count == 0:
            return texts
        if self.generator == "sentences":
            written = plain_sentences(texts, seed)[:count]
        else:
            teacher = vectors_id(ask.encode(texts.texts, texts.roles))
            inputs = [texts.digest(), teacher, generator_identity(self.generator), *dataclasses.astuple(self), seed]
            written = kept_on_disk("symbolic", inputs, lambda: self.written(texts, ask, seed, count))
        if len(written) < count:
            logger.warning("symbolic: got %d texts, not %d. Raise each, recall or top_p.", len(written), count)
        pairs = distinct_pairs([one.text for one in written])
        logger.info("symbolic: added %d texts; %.2f of their pairs of words differ", len(written), pairs)
        return with_written(texts, written, "symbolic")

    def written(self, texts: TextTable, ask: Ask, seed: int, count: int) -> list[Written]:
        """Return at most ``count`` texts that the critic keeps, each with its origin and score."""
        vectors = ask.encode(texts.texts, texts.roles)
        generator = open_generator(self.generator, texts.texts)
        writing, fitting, testing = split_seeds(texts, seed)
        make = _Maker(self, texts, vectors, generator, seed)
        critic = None
        if self.recall < 1:
            # As many written texts as given ones.
            bad = make.from_seeds(fitting[: -(-len(fitting) // self.each)])
            found = ask.encode([one.text for one in bad], [one.role for one in bad])
            critic = fit_critic(vectors[fitting], found)
            critic = dataclasses.replace(critic, threshold=threshold_at(critic.scores(vectors[testing]), self.recall))
        kept: list[Written] = []
        tried = 0
        for start in range(0, len(writing), CHUNK):
            new = make.from_seeds(writing[start : start + CHUNK])
            scores = numpy.ones(len(new))
            if critic is not None and new:
                scores = critic.scores(ask.encode([one.text for one in new], [one.role for one in new]))
            scored = [dataclasses.replace(one, score=float(score)) for one, score in zip(new, scores, strict=True)]
            kept = cleaned([*kept, *(one for one in scored if critic is None or one.score >= critic.threshold)], texts)
            tried += len(new)
            if len(kept) >= count:
                break
        logger.info("symbolic: the critic kept %d of %d written texts", len(kept), tried)
        return kept[:count]


@dataclass(frozen=True)
class _Maker:
    """Writes texts from seeds, and keeps them on disk."""

    options: Symbolic
    texts: TextTable
    vectors: Float32
    generator: Generator
    seed: int

    def from_seeds(self, seeds: Int64) -> list[Written]:
        """Return the cleaned texts that are written from ``seeds``."""
        given = self.options
        prompts = [list_prompt([self.texts.texts[place] for place in self._examples(row)]) for row in seeds.tolist()]
        fields = (given.each, given.longest, given.top_p, self.seed)
        inputs = [self.texts.digest(), self.generator.name, *fields, seeds.tolist(), *prompts]
        return kept_on_disk("written-from", inputs, lambda: self._new(seeds, prompts), announce=False)

    def _new(self, seeds: Int64, prompts: Sequence[str]) -> list[Written]:
        given, generator, found = self.options, self.generator, []
        for row, prompt in zip(seeds.tolist(), prompts, strict=True):
            draw = numpy.random.default_rng([self.seed, STREAM, row])
            made = sample(generator, prompt, given.each, most=given.longest, top_p=given.top_p, draw=draw)
            origin: dict[str, Any] = {
                "generator": generator.name,
                "licence": generator.licence,
                "prompt": prompt_id(prompt),
            }
            found += [Written(text=text, role=self.texts.roles[row], seed=row, **origin) for text in made]
        return cleaned(found, self.texts)

    def _examples(self, row: int) -> list[int]:
        """Return the rows of the prompt: the nearest texts of the same role, the seed last."""
        role = self.texts.role_ids()
        cosines = numpy.where(role == role[row], self.vectors @ self.vectors[row], -numpy.inf)
        cosines[row] = -numpy.inf
        others = min(self.options.examples - 1, int((role == role[row]).sum()) - 1)
        return [*numpy.argsort(-cosines, kind="stable")[:others][::-1].tolist(), row]


def list_prompt(texts: Sequence[str]) -> str:
    """Return a numbered list of ``texts``, each shortened to one line, that ends with the number of the next entry."""
    entries = [" ".join(text.split())[:LONGEST_ENTRY] for text in texts]
    lines = [f"{number}. {entry}\n" for number, entry in enumerate(entries, 1)]
    return f"{''.join(lines)}{len(texts) + 1}."


def split_seeds(texts: TextTable, seed: int) -> tuple[Int64, Int64, Int64]:
    """Return the rows to write from, to fit the critic to and to set its threshold on, each in random order.

    The seeds are the queries, or all texts if there are no queries.
    """
    roles = texts.role_ids()
    seeds = numpy.flatnonzero(roles == 0) if (roles == 0).any() else numpy.arange(len(texts))
    order = numpy.random.default_rng([seed, STREAM]).permutation(seeds)
    size = min(MOST, len(order) // 10)
    return order[2 * size :], order[:size], order[size : 2 * size]


@dataclass(frozen=True, kw_only=True)
class Critic:
    """A logistic regression that tells given texts from written ones; ``weight`` is (dim,).

    A text is kept if its score is at least the ``threshold``.
    """

    weight: Floats
    bias: float
    threshold: float = -math.inf

    def scores(self, vectors: Float32) -> Floats:
        """Return the log-odds that the texts with ``vectors`` (texts, dim) were given, (texts,)."""
        return vectors @ self.weight + self.bias


def fit_critic(given: Float32, written: Float32, penalty: float = 1.0, steps: int = 12) -> Critic:
    """Fit a critic to the vectors of ``given`` and of ``written`` texts, (texts, dim) each, by Newton's method.

    Both kinds weigh the same. ``penalty`` is that of the squared weights of standardised dimensions.
    """
    vectors = numpy.concatenate([given, written]).astype(numpy.float64)
    mean, spread = vectors.mean(axis=0), numpy.maximum(vectors.std(axis=0), 1e-9)
    inputs = numpy.column_stack([(vectors - mean) / spread, numpy.ones(len(vectors))])
    truth = numpy.arange(len(vectors)) < len(given)
    balance = numpy.where(truth, 0.5 / max(len(given), 1), 0.5 / max(len(written), 1)) * len(vectors)
    ridge = penalty * numpy.eye(inputs.shape[1])
    ridge[-1, -1] = 1e-9
    weight = numpy.zeros(inputs.shape[1])
    for _ in range(steps):
        odds = 1 / (1 + numpy.exp(-(inputs @ weight).clip(-30, 30)))
        gradient = inputs.T @ (balance * (odds - truth)) + ridge @ weight
        curvature = (inputs * (balance * odds * (1 - odds))[:, None]).T @ inputs + ridge
        weight -= numpy.linalg.solve(curvature, gradient)
    scaled = weight[:-1] / spread
    return Critic(weight=scaled, bias=float(weight[-1] - mean @ scaled))


def threshold_at(scores: Floats, recall: float) -> float:
    """Return the largest threshold that keeps at least the share ``recall`` of texts with ``scores``, (texts,)."""
    kept = max(1, math.ceil(recall * len(scores) - 1e-9))
    return float(numpy.sort(scores)[::-1][kept - 1])
