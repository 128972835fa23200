"""Swing: texts with private words have flat, noisy targets, so that the student does not learn them by heart.

Paper: https://arxiv.org/abs/2212.08349

    r_i = privacy score of text i, 0 to 1;    T_i = T_0 + (T_max - T_0) r_i;    p_i = softmax(z_T / T_i)
    p~_i = normalise(max(0, p_i + x_i)),  x_i ~ N(0, (sigma_0 + sigma_1 r_i)^2)
    L_soft = w_i KL(p~_i || softmax(z_S / T_i)),  w_i = T_0^2 at r_i = 0, falling to 1 at r_i = 1
    L_release = (1 - r_i) |s_i - t~_i|,  t~_i = normalise(t_i + spread r_i e_i),  e_i ~ N(0, 1 / dim)

Hinton's factor T_i^2 would undo the flat targets: as T grows, T^2 KL becomes the squared distance of the centred logits
over 2C for C classes, so that the student would match the logits of private texts exactly.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy

from leafkit.errors import OptionError
from leafkit.methods.anchors import fit_anchors
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Setting

Reduction = Literal["max", "mean"]

# Texts that are read in one call.
CHUNK = 4096

PRIVATE = {
    "email": r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+",
    "id": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b|\b\d{3}-\d{2}-\d{4}\b",
    "phone": r"(?<![\w.-])(?!\d+[.-]\d{1,2}[.-]\d+\b)\+?(?:\(\d{1,4}\)|\d{1,4})(?:[ .-]\d{2,4}){2,5}(?![\w.-]*\d)",
    "code": r"\b(?=\w*\d\w*\d)(?=\w*[A-Za-z])\w{6,}\b|\b(?!1\d{3}-|20\d{2}-)\d{4}(?:-\d{4})+\b",
    "number": r"(?<![\w.,])\d{5,}(?![\w.,]*\d)",
}
"""Patterns of private words by kind, in order of precedence.

They find what has a form: e-mail addresses, account and security numbers, telephone numbers, codes of letters and
digits, and numbers of five digits or more. Names and postal addresses have no form, and are not found.
"""

_ANY = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in PRIVATE.items()))
_WORD = re.compile(r"\S+")
_FEWEST_DIGITS_OF_A_PHONE = 7


@dataclass(frozen=True, kw_only=True)
class Swing(Objective):
    """Imitate the teacher less, and with noise, on texts that contain private words.

    Use it instead of ``leaf``: LEAF beside it would show the student the exact vectors of private texts. The noise of
    a text is the same in every epoch, because fresh noise would average out. This is no differential privacy: nothing
    is proved about what a student reveals, so measure it with the probe ``exposure``. A ridge start of the head uses
    the vectors of all texts. Replacing private words by a placeholder before the teacher reads the texts is simpler and
    hid as much in our test; Swing keeps the texts as they are.

    ``weight``: multiplies both losses.
    ``temperature``: T_0, for texts without private words (reconstruction: 2). ``hottest``: T_max, for a score of 1
    (reconstruction: 20). Both divide the logits in addition to the temperature of the anchors.
    ``noise``: sigma_0, the noise on the probabilities of every text (ours 0).
    ``private_noise``: sigma_1, the noise that a score of 1 adds (ours 0.05).
    ``spread``: length of the noise on the released vector at a score of 1, relative to the vector (ours 1).
    ``soft``: multiplies L_soft (ours 0.1); 0 leaves it out.
    ``reduction``: whether the score of a text is the ``max`` or the ``mean`` over its words (ours max).
    ``rarity``: score of a word that occurs once in the training texts, 0 to 1; more frequent words score less (ours 0:
    only patterns count).
    ``count``: number of anchors, the centres of clusters of the texts without private words (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2212.08349"
    elicits: ClassVar[tuple[str, ...]] = ("labeling", "feature")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    reconstruction: ClassVar[str] = (
        "only the paper's abstract was available: it confirms temperatures that vary with privacy and noise on the "
        "soft targets; the detector, the formulas and all constants are reconstructed; the unit is the text, not the "
        "token, so words near a private word need no score of their own; names are not detected; the factor T^2 is "
        "dropped for private texts; the noise is drawn once for each text; the released vector of weight 1 - r "
        "replaces LEAF"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    temperature: float = 2.0
    hottest: float = 20.0
    noise: float = 0.0
    private_noise: float = 0.05
    spread: float = 1.0
    soft: float = 0.1
    reduction: Reduction = "max"
    rarity: float = 0.0
    count: int = 64

    def __post_init__(self) -> None:
        amounts = ("noise", "private_noise", "spread", "soft")
        self.check_fields(
            {
                "temperature": (0 < self.temperature < math.inf, "more than 0"),
                "hottest": (self.temperature <= self.hottest < math.inf, f"{self.temperature:g} (T_0) or more"),
                **{name: (0 <= getattr(self, name) < math.inf, "0 or more") for name in amounts},
                "reduction": (self.reduction in get_args(Reduction), " or ".join(get_args(Reduction))),
                "rarity": (0 <= self.rarity <= 1, "0 to 1"),
                "count": (self.count >= 2, "2 or more anchors"),
            }
        )

    @property
    def remembers_texts(self) -> bool:
        """Whether scores are stored by row: always."""
        return True

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if fewer than two texts are without private words."""
        if self.weight == 0:
            return
        found: Counter[float] = Counter()
        for score in self._scores(facts):
            found[score] += 1
            if found[0.0] == 2:  # No score is lower, so the other texts need not be read.
                return
        if (public := found[min(found)]) < 2:
            raise OptionError(
                f"swing finds only {public} of {facts.texts} texts without private words; expected 2 or more for its "
                "anchors. Lower swing:rarity or add texts."
            )

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``scores`` r of the texts, (texts,), the ``anchors`` and the ``seed``; nothing at weight 0."""
        import torch

        state = torch.nn.Module()
        if self.weight == 0:
            return state
        scores = numpy.fromiter(self._scores(setting), dtype=numpy.float32, count=setting.texts)
        public = numpy.flatnonzero(scores == scores.min())
        state.anchors = fit_anchors(setting.restricted(public), "clusters", min(self.count, len(public)))
        state.register_buffer("scores", torch.from_numpy(scores))
        state.register_buffer("seed", torch.tensor(setting.seed))
        return state

    def _scores(self, facts: Facts) -> Iterator[float]:
        """Yield the privacy score of every training text in order, rounded to float32."""
        rarities = word_rarities(_texts(facts)) if self.rarity else {}
        for text in _texts(facts):
            yield float(numpy.float32(text_score(text, self.reduction, rarities, self.rarity)))

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the losses ``release`` and ``soft`` of each text, (rows,)."""
        if self.weight == 0:
            return {}
        scores = state.scores[batch.rows]
        noise = fixed_noise(batch.rows.tolist(), int(state.seed), batch.teacher.shape[1] + len(state.anchors.centres))
        on_vectors, on_targets = noise.to(scores.device).split([batch.teacher.shape[1], len(state.anchors.centres)], 1)
        released = release(batch.teacher.detach().float(), scores, self.spread * on_vectors)
        losses = {"release": (1 - scores) * (batch.student.float() - released).norm(dim=-1)}
        if self.soft:
            temperature = self.temperature + (self.hottest - self.temperature) * scores
            deviation = self.noise + self.private_noise * scores
            teacher, student = (
                state.anchors.logits(vectors) / temperature[:, None]
                for vectors in (batch.teacher.detach(), batch.student)
            )
            target = noisy_target(teacher.softmax(dim=-1), deviation[:, None] * on_targets)
            losses["soft"] = self.soft * target_weight(scores, self.temperature) * divergence(target, student)
        return losses


def release(teacher: Tensor, scores: Tensor, noise: Tensor) -> Tensor:
    """Return the vectors that the student may see, (rows, dim): unit ``teacher`` plus score times noise, renormalised.

    ``noise`` (rows, dim) has the expected length ``spread``. Vectors keep the length of ``teacher``, and texts with a
    score of 0 keep theirs exactly.
    """
    from torch.nn.functional import normalize

    length = teacher.norm(dim=-1, keepdim=True)
    shifted = normalize(teacher, dim=-1) + scores[:, None] * noise / teacher.shape[1] ** 0.5
    return teacher.where(scores[:, None] == 0, length * normalize(shifted, dim=-1))


def noisy_target(probabilities: Tensor, noise: Tensor) -> Tensor:
    """Return ``probabilities`` (rows, count) plus ``noise``, without negative entries, with a sum of 1.

    If noise leaves nothing, the target is uniform.
    """
    kept = (probabilities + noise).clamp(min=0)
    kept = kept.where(kept.sum(dim=-1, keepdim=True) > 0, kept.new_ones(()))
    return kept / kept.sum(dim=-1, keepdim=True)


def target_weight(scores: Tensor, temperature: float) -> Tensor:
    """Return w, (rows,): ``temperature``^2 (Hinton's factor) at a score of 0, 1 at a score of 1, linear between."""
    return 1 + (temperature**2 - 1) * (1 - scores)


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """Return KL(target || softmax(logits)), (rows,), for probabilities and logits (rows, count)."""
    from torch.nn.functional import kl_div

    return kl_div(logits.log_softmax(dim=-1), target, reduction="none").sum(dim=-1)


def fixed_noise(rows: Sequence[int], seed: int, count: int) -> Tensor:
    """Return standard normal noise, (rows, count): for a training row always the same, whatever the step."""
    import torch

    draws = [numpy.random.default_rng([seed, row, 19]).standard_normal(count, dtype=numpy.float32) for row in rows]
    return torch.from_numpy(numpy.stack(draws))


def find_private(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the private words of ``text`` as (kind, start, end), with the kinds of `PRIVATE`."""
    for match in _ANY.finditer(text):
        kind = str(match.lastgroup)
        if kind != "phone" or sum(letter.isdigit() for letter in match[0]) >= _FEWEST_DIGITS_OF_A_PHONE:
            yield kind, match.start(), match.end()


def text_score(text: str, reduction: Reduction, rarities: Mapping[str, float], rarity: float) -> float:
    """Return the privacy score of ``text``, 0 to 1: the largest or the mean score of its words; 0 without words.

    A word scores 1 if any part of it is private, otherwise ``rarity`` times its rarity (0 if it is not in
    ``rarities``).
    """
    spans = list(find_private(text))
    if not spans and not rarities:
        return 0.0
    scores = [
        1.0
        if any(start < word.end() and word.start() < end for _, start, end in spans)
        else rarity * rarities.get(word[0].lower(), 0.0)
        for word in _WORD.finditer(text)
    ]
    return (max(scores) if reduction == "max" else sum(scores) / len(scores)) if scores else 0.0


def word_rarities(texts: Iterator[str]) -> dict[str, float]:
    """Return the rarity of each word: -log of its share of all words over that of a word that occurs once, 0 to 1."""
    counts = Counter(word[0].lower() for text in texts for word in _WORD.finditer(text))
    total = sum(counts.values())
    return {word: 1 - math.log(count) / math.log(total) if total > 1 else 1.0 for word, count in counts.items()}


def _texts(facts: Facts) -> Iterator[str]:
    """Yield all training texts in order."""
    for start in range(0, facts.texts, CHUNK):
        yield from facts.texts_of(numpy.arange(start, min(start + CHUNK, facts.texts)))
