"""BOOT: train without any text, on words drawn from the teacher's vocabulary, along a path to the teacher's vectors.

Paper: https://arxiv.org/abs/2306.05544

    path of a text from the mean vector c to its teacher vector f:  y_0 = c,  y_s = y_t + (1 - kappa) (f - y_t)
    kappa = (alpha_t sigma_s) / (alpha_s sigma_t),  alpha = cos, sigma = sin of an angle that falls to 0 in ``stages``
    student of stage s: started from the student of the stage t before, and fitted to s(x) + (1 - kappa) (f - s(x)),
    where s(x) is what the student of stage t writes; with kappa = 0, in the last stage, the target is f
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.methods.generator import check_generator, generator_identity, open_generator, sample
from leafkit.methods.method import Topology, Training, Writer
from leafkit.methods.setting import Facts
from leafkit.methods.written import Written, kept_on_disk, prompt_id, with_written
from leafkit.vectors.cosine import are_unit

if TYPE_CHECKING:
    from leafkit.methods.ask import Ask
    from leafkit.texts.table import TextTable
    from leafkit.types import Float32

Floats = NDArray[Any]

# Separates the random numbers of this writer from those of others.
STREAM = 59
# The frequency of the word of rank r is that of 1 / (r + ZIPF).
ZIPF = 2.7
# Texts that a generator writes at once.
CHUNK = 16


@dataclass(frozen=True, kw_only=True)
class Boot(Writer, Topology):
    """Replace the texts by made-up ones, whose vectors the teacher gives, and train in stages towards these vectors.

    Only the number and the roles of the given texts are used. Vocabularies are often ordered by frequency, so words are
    drawn by Zipf's law of their rank. The stages are trainings of equal length, so the fair comparison is one training
    with ``stages`` times the epochs.

    ``source``: what the texts are made of: ``words`` of the teacher's vocabulary, or a generator that starts without a
    prompt (a .gguf file, ``package:NAME`` or a folder of transformers); ``unigrams`` and ``bigrams`` of the given texts
    are there for comparison.
    ``share``: share of the texts that is replaced, 0 to 1; 0 keeps the given texts (paper: 1).
    ``longest``: largest number of words, or of tokens of a generator, in a text (ours 12).
    ``stages``: number of trainings along the path; 1 trains on the teacher's vectors at once (ours 3).
    ``start``: angle at which the path starts, as a share of a right angle; a smaller one makes the first stage smaller
    (ours 0.9).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2306.05544"
    elicits: ClassVar[tuple[str, ...]] = ("expansion", "self-knowledge")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {"share": 0.0, "stages": 1}
    reconstruction: ClassVar[str] = (
        "an embedding model has no diffusion process, so this is an analogue: random words replace noise, and the mean "
        "of the teacher's vectors replaces the signal of pure noise; the teacher's estimate does not depend on the "
        "time, and a student for each time replaces one that is told the time; the boundary condition holds exactly, "
        "because the first targets are made from the mean itself; unit targets are scaled to length 1 again; the step "
        "sizes and weights of the paper are unknown to us"
    )
    small: ClassVar[Mapping[str, Any]] = {"stages": 2}

    source: str = "words"
    share: float = 1.0
    longest: int = 12
    stages: int = 3
    start: float = 0.9

    def __post_init__(self) -> None:
        self.check_fields(
            {
                "share": (0 <= self.share <= 1, "0 to 1, a share of the texts"),
                "longest": (self.longest >= 2, "2 or more"),
                "stages": (self.stages >= 1, "1 or more"),
                "start": (0 < self.start < 1, "more than 0 and less than 1"),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """A teacher that encodes texts, and its vocabulary for ``source=words``."""
        if self.share == 0:
            return frozenset()
        return frozenset({"online", "model"} if self.source == "words" else {"online"})

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for an unknown source."""
        if self.share > 0 and self.source != "words":
            check_generator(self.source)

    def write(self, texts: TextTable, ask: Ask, seed: int) -> TextTable:
        """Return the given texts that are kept, in their order, followed by those that were made up."""
        order = numpy.random.default_rng([seed, STREAM]).permutation(len(texts))
        replaced = numpy.sort(order[: round(self.share * len(texts))])
        if not len(replaced):
            return texts
        roles = [texts.roles[row] for row in replaced]
        made = self.made(texts, ask, seed, len(replaced))
        written = [dataclasses.replace(one, role=role) for one, role in zip(made, roles, strict=True)]
        kept = texts.choose(numpy.setdiff1d(order, replaced).tolist())
        kept.counts, kept.repeated = texts.counts, texts.repeated
        return with_written(kept, written, "boot")

    def made(self, texts: TextTable, ask: Ask, seed: int, count: int) -> list[Written]:
        """Return ``count`` different texts, without a role of their own."""
        if self.source == "words":
            words = whole_words(ask.vocabulary())
            return [_record(text, "words") for text in random_texts(words, count, self.longest, seed)]
        # The n-grams count the given texts; a model sees none.
        inputs = [texts.digest(), generator_identity(self.source), count, self.longest, seed]
        return kept_on_disk("boot", inputs, lambda: self._generated(texts, seed, count))

    def _generated(self, texts: TextTable, seed: int, count: int) -> list[Written]:
        generator = open_generator(self.source, texts.texts)
        draw, found = numpy.random.default_rng([seed, STREAM, 1]), dict[str, None]()
        while len(found) < count:
            made = sample(generator, "", CHUNK, most=self.longest, top_p=1.0, draw=draw)
            found |= dict.fromkeys(text for text in made if len(text.split()) > 1)
        return [_record(text, generator.name, generator.licence) for text in list(found)[:count]]

    def run(self, training: Training) -> None:
        """Train the students along the path; the last one learns the teacher's vectors."""
        if self.stages == 1:
            training.fit("first")
            return
        setting = training.setting
        rows = numpy.arange(setting.texts)
        teacher = setting.targets(rows)
        before = numpy.broadcast_to(teacher.mean(axis=0), teacher.shape)
        name = None
        for stage, kappa in enumerate(kappas(self.stages, self.start), start=1):
            targets = rescaled(towards(before, teacher, kappa), teacher)
            previous, name = name, f"stage-{stage}"
            training.fit(name, targets=targets, start=previous)
            if stage < self.stages:
                before = training.student(name, rows)


def towards(before: Floats, teacher: Floats, kappa: float) -> Floats:
    """Return the next point of the path, ``before`` + (1 - ``kappa``) (``teacher`` - ``before``), all (rows, dim)."""
    return before + (1 - kappa) * (teacher - before)


def kappas(stages: int, start: float) -> list[float]:
    """Return kappa of each stage, for angles that fall evenly from ``start`` right angles to 0; the last is 0."""
    angles = numpy.linspace(start * math.pi / 2, 0, stages + 1)
    return [float(numpy.tan(after) / numpy.tan(before)) for before, after in itertools.pairwise(angles)]


def rescaled(vectors: Floats, teacher: Float32) -> Float32:
    """Return ``vectors`` as float32, with length 1 if the ``teacher``'s have length 1; a zero vector stays."""
    if are_unit(teacher):
        vectors = vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors.astype(numpy.float32)


def whole_words(vocabulary: Sequence[str]) -> list[str]:
    """Return the words of ``vocabulary`` of two or more letters in their order, each once.

    The mark of the beginning of a word is removed, for tokenizers that have one; pieces inside a word are left out.
    """
    marked = any(token[:1] in "\u2581\u0120" for token in vocabulary)
    pieces = [token[1:] for token in vocabulary if token[:1] in "\u2581\u0120"] if marked else vocabulary
    return list(dict.fromkeys(token.lower() for token in pieces if len(token) > 1 and token.isalpha()))


def random_texts(words: Sequence[str], count: int, longest: int, seed: int) -> list[str]:
    """Return ``count`` different texts of 2 to ``longest`` words, drawn by Zipf's law of their place."""
    draw = numpy.random.default_rng([seed, STREAM, 2])
    shares = 1 / (numpy.arange(len(words)) + ZIPF)
    edges = shares.cumsum() / shares.sum()
    found: dict[str, None] = {}
    while len(found) < count:
        places = numpy.searchsorted(edges, draw.random(draw.integers(2, longest + 1)), side="right")
        found[" ".join(words[min(int(place), len(words) - 1)] for place in places)] = None
    return list(found)


def _record(text: str, generator: str, licence: str = "none") -> Written:
    return Written(text=text, role="query", seed=-1, generator=generator, licence=licence, prompt=prompt_id(""))
