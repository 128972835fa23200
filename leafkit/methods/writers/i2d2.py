"""I2D2: write a query for each document under constraints, keep those that find it again, and learn from them.

Paper: https://arxiv.org/abs/2212.09246

    constrained beams: a query has 4 to 16 words, a content word of its document, and no 5 words in a row from it
    critic: a query is kept if its document is among the ``nearest`` documents by the cosine of teacher vectors
    self-imitation: the generator learns the kept queries of some documents, ``rounds`` times; the critic never changes
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy

from leafkit.errors import OptionError
from leafkit.methods.generator import (
    Constraints,
    Generator,
    check_generator,
    constrained_beams,
    generator_identity,
    open_generator,
)
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
from leafkit.texts.sentences import split_sentences

if TYPE_CHECKING:
    from leafkit.methods.ask import Ask
    from leafkit.texts.table import TextTable
    from leafkit.types import Float32, Int64, Role

# Separates the random numbers of this writer from those of others.
STREAM = 67
FEWEST = 20
# Documents on which acceptance is counted, and those whose kept queries the generator learns.
HELD, LEARNING = 50, 100
# Documents that are written for before the critic reads the queries.
CHUNK = 40
# The most characters of a document in the prompt.
PASSAGE = 400
# Words in a row that may not be copied.
COPIED = 5
SHORTEST, LONGEST = 4, 16
# Function words of English; a content word is any other word of three letters or more.
FUNCTION = frozenset(
    "a an and are as at be been but by can could did do does for from had has have he her his how i if in into is it "
    "its may more most not of on or our she should so such than that the their them then there these they this those "
    "to was we were what when where which who why will with would you your".split()
)

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class I2d2(Writer):
    """Add queries that were written for the given documents, each in a pair with its document.

    The default generator counts words. A language model (a .gguf file with the extra ``write``, ``package:NAME``, or a
    folder of transformers) writes better queries, and takes seconds for each document on one core.
    ``sentences`` adds sentences of the documents instead, the plain rival. What was written is kept in leafkit's cache,
    in a file with the document, prompt, generator, licence and score of each query.

    ``generator``: what writes: ``bigrams``, ``unigrams``, ``sentences``, or a model (paper: GPT-2 XL).
    ``share``: largest number of queries, as a share of the given texts; 0 disables the method (ours 0.25).
    ``rounds``: number of times that the generator learns from its kept queries (paper: 2).
    ``nearest``: a query is kept if its document is among this many nearest documents (ours 3).
    ``width``: number of beams of each group, and of queries written for a document (ours 4).
    ``most``: largest number of tokens of a query (ours 24).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2212.09246"
    elicits: ClassVar[tuple[str, ...]] = ("expansion", "curation", "self-knowledge")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval",)
    off: ClassVar[Mapping[str, Any]] = {"share": 0.0}
    reconstruction: ClassVar[str] = (
        "queries for documents replace general statements about concepts, with constraints to suit; the teacher, asked "
        "whether a query finds its document, replaces a critic that was fitted to ratings by people; the size and "
        "threshold of the paper's critic and its exact losses are unknown to us; words are compared without an ending "
        "-s instead of by lemma, and the list of function words is English"
    )
    small: ClassVar[Mapping[str, Any]] = {"share": 0.05, "rounds": 1, "width": 2, "most": 8}

    generator: str = "bigrams"
    share: float = 0.25
    rounds: int = 2
    nearest: int = 3
    width: int = 4
    most: int = 24

    def __post_init__(self) -> None:
        self.check_fields(
            {
                "share": (0 <= self.share < math.inf, "0 or more"),
                "rounds": (self.rounds >= 0, "0 or more"),
                "nearest": (self.nearest >= 1, "1 or more documents"),
                "width": (self.width >= 1, "1 or more beams"),
                "most": (self.most >= SHORTEST, f"{SHORTEST} or more tokens"),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """A teacher that encodes queries, unless they are sentences."""
        return frozenset({"online"} if self._generates else ())

    @property
    def _generates(self) -> bool:
        return self.share > 0 and self.generator != "sentences"

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for an unknown generator, and for too few documents."""
        if self._generates:
            check_generator(self.generator)
        documents = int((facts.roles == 1).sum())
        if self.share > 0 and documents < FEWEST:
            raise OptionError(f"i2d2 got {documents} documents to write queries for; expected {FEWEST} or more.")

    def write(self, texts: TextTable, ask: Ask, seed: int) -> TextTable:
        """Return the given texts followed by the queries, in pairs with their documents."""
        count = round(self.share * len(texts))
        if count == 0:
            return texts
        if self.generator == "sentences":
            written = plain_sentences(texts, seed)[:count]
        else:
            teacher = vectors_id(ask.encode(texts.texts, texts.roles))
            inputs = [texts.digest(), teacher, generator_identity(self.generator), *dataclasses.astuple(self), seed]
            written = kept_on_disk("i2d2", inputs, lambda: Rounds(self, texts, ask, seed).written(count))
        pairs = distinct_pairs([one.text for one in written])
        logger.info("i2d2: added %d queries; %.2f of their pairs of words differ", len(written), pairs)
        table = with_written(texts, written, "i2d2")
        own = [(len(texts) + place, one.seed) for place, one in enumerate(written)]
        table.pairs = numpy.concatenate([texts.pairs, numpy.array(own, dtype=numpy.int64).reshape(-1, 2)])
        return table


class Rounds:
    """The rounds of self-imitation: a generator that learns, and a critic that does not."""

    def __init__(self, options: I2d2, texts: TextTable, ask: Ask, seed: int) -> None:
        """Open the generator, and ask the teacher about the documents."""
        self.options, self.texts, self.ask, self.seed = options, texts, ask, seed
        self.documents = numpy.flatnonzero(texts.role_ids() == 1)
        # N-grams count sentences, so that they learn where one ends.
        sentences = [one for text in texts.texts for one in split_sentences(text) if one]
        self.generator: Generator = open_generator(options.generator, sentences)
        roles: list[Role] = ["document"] * len(self.documents)
        vectors = ask.encode([texts.texts[row] for row in self.documents], roles)
        self.critic = RoundTrip(vectors, options.nearest)
        self.round = 0

    def written(self, count: int) -> list[Written]:
        """Return at most ``count`` kept queries of the generator after its last round.

        Those for held-out documents are left out. They only show the share that is kept in each round.
        """
        order = numpy.random.default_rng([self.seed, STREAM]).permutation(len(self.documents))
        held = order[: min(HELD, len(order) // 10)]
        learning = order[len(held) : len(held) + min(LEARNING, len(order) // 5)]
        for _ in range(self.options.rounds):
            self.acceptance(held)
            kept = self.kept(self.queries(learning))
            self.generator.learn([(self.prompt(one.seed), one.text) for one in kept], self.seed)
            self.round += 1
        self.acceptance(held)
        found: list[Written] = []
        for start in range(len(held), len(order), CHUNK):
            found = cleaned([*found, *self.kept(self.queries(order[start : start + CHUNK]))], self.texts)
            if len(found) >= count:
                break
        return found[:count]

    def acceptance(self, places: Int64) -> float:
        """Return and log the share of the queries for the documents at ``places`` that the critic keeps."""
        queries = self.queries(places)
        share = len(self.kept(queries)) / max(len(queries), 1)
        logger.info(
            "i2d2: round %d: %.2f of %d queries for held-out documents kept by the critic %s, %.2f different pairs",
            *(self.round, share, len(queries), self.critic.identity, distinct_pairs([one.text for one in queries])),
        )
        return share

    def queries(self, places: Int64) -> list[Written]:
        """Return queries that fulfil the constraints, for the documents at ``places`` among all documents."""
        options, generator, found = self.options, self.generator, []
        for row in self.documents[places].tolist():
            prompt = self.prompt(row)
            rules = query_constraints(self.texts.texts[row])
            texts = constrained_beams(generator, prompt, rules, width=options.width, most=options.most)
            origin: dict[str, Any] = {
                "generator": generator.name,
                "licence": generator.licence,
                "prompt": prompt_id(prompt),
            }
            found += [Written(text=text, role="query", seed=row, round=self.round, **origin) for text in texts]
        return cleaned(found, self.texts)

    def kept(self, queries: Sequence[Written]) -> list[Written]:
        """Return the ``queries`` that the critic keeps, with the rank of their document as negative score."""
        if not queries:
            return []
        vectors = self.ask.encode([one.text for one in queries], [one.role for one in queries])
        places = numpy.searchsorted(self.documents, [one.seed for one in queries])
        ranks = self.critic.ranks(vectors, places)
        scored = [dataclasses.replace(one, score=-float(rank)) for one, rank in zip(queries, ranks, strict=True)]
        return [one for one in scored if -one.score <= self.critic.nearest]

    def prompt(self, row: int) -> str:
        """Return the prompt for a query of the document ``row``."""
        return f"Passage: {' '.join(self.texts.texts[row].split())[:PASSAGE]}\nQuestion:"


class RoundTrip:
    """The critic: does a query find its document? ``vectors`` (documents, dim) are the teacher's and never change."""

    def __init__(self, vectors: Float32, nearest: int) -> None:
        """Keep a copy of ``vectors`` that cannot be written to."""
        self._vectors, self.nearest = vectors.copy(), nearest
        self._vectors.flags.writeable = False

    @property
    def identity(self) -> str:
        """A hash of everything that decides what is kept, 12 hexadecimal digits."""
        return hashlib.sha256(self._vectors.tobytes() + str(self.nearest).encode()).hexdigest()[:12]

    def ranks(self, queries: Float32, places: Int64) -> Int64:
        """Return the rank, from 1, of the document at each of ``places`` among all documents, (queries,)."""
        scores = queries @ self._vectors.T
        own = scores[numpy.arange(len(queries)), places]
        return 1 + (scores > own[:, None]).sum(axis=1)


def query_constraints(document: str) -> Constraints:
    """Return what a query for ``document`` must fulfil."""
    content = {stem(word) for word in words_of(document) if is_content(word)}
    runs = copied_runs(document)

    def allowed(text: str) -> bool:
        return len(text.split()) <= LONGEST and "\n" not in text and not copied_runs(text) & runs

    def fulfilled(text: str) -> int:
        return int(any(stem(word) in content for word in words_of(text)))

    def complete(text: str) -> bool:
        return len(text.split()) >= SHORTEST and allowed(text) and bool(fulfilled(text))

    return Constraints(allowed=allowed, complete=complete, fulfilled=fulfilled)


def words_of(text: str) -> list[str]:
    """Return the words of ``text`` in lower case, without punctuation."""
    return re.findall(r"\w+", text.lower())


def is_content(word: str) -> bool:
    """Tell whether ``word`` says what a text is about: three letters or more, and no function word."""
    return len(word) > 2 and word not in FUNCTION


def stem(word: str) -> str:
    """Return ``word`` without the ending of a plural."""
    return word.removesuffix("s")


def copied_runs(text: str) -> set[tuple[str, ...]]:
    """Return all runs of `COPIED` words in ``text``."""
    words = words_of(text)
    return {tuple(words[start : start + COPIED]) for start in range(len(words) - COPIED + 1)}
