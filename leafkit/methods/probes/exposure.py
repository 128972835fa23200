"""Exposure: how far a student reveals secrets of its training texts, before and after it learned from them.

Paper: https://arxiv.org/abs/1802.08232

    exposure(s) = log2 |R| - log2 rank(s), for a secret s among the candidates R, ranked by the student's score

The score of a text is the cosine of its vectors by student and teacher: a student is closest to its teacher on texts
that it learned. A student that learned nothing of a secret has an exposure of 1.44 bits on average, and the largest
exposure is log2 |R|. An average far below 1.44 sets the secrets apart as well: the student avoids their vectors.
"""

from __future__ import annotations

import math
import string
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy

from leafkit.errors import InputError, OptionError
from leafkit.methods.method import Probe
from leafkit.methods.objectives.swing import find_private

if TYPE_CHECKING:
    from leafkit.methods.look import Look
    from leafkit.types import Float32, Role

_ALPHABETS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


@dataclass(frozen=True, kw_only=True)
class Exposure(Probe):
    """Rank secrets that are among the training texts among other texts of the same form, by how well each was learned.

    To test a training, add some secrets of your own to its texts (canaries) and name them here. The probe adds nothing.
    The other texts are the secret with other digits, and with other letters in its private words such as an e-mail
    address. The teacher encodes them once; they count as teacher calls. The first observation is that of the start: a
    head or a token table that starts in the closed-form solution of all texts may reveal secrets before the first step.

    ``every``: number of validations from one observation to the next; 0 disables the probe.
    ``secret``: the text of a secret, a query (ours).
    ``file``: a file with the text of a secret in each line, in the place of ``secret``; empty for none.
    ``count``: number of other texts for each secret (paper: all of the form; ours 1000, so at most 9.97 bits).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1802.08232"
    reconstruction: ClassVar[str] = (
        "the paper ranks by the likelihood of a language model, and extrapolates over all candidates; an embedding "
        "model has no likelihood, so the score is the cosine with the teacher, and the candidates are a sample"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 20}

    secret: str = "my code is 4711-0815"
    file: str = ""
    count: int = 1000

    def __post_init__(self) -> None:
        checks = {"every": (self.every >= 0, "0 or more"), "count": (self.count >= 1, "1 or more texts")}
        self.check_fields(checks | {"secret": (bool(self.secret.strip()), "a text")})

    @property
    def needs(self) -> frozenset[str]:
        """A teacher that can be asked about the other texts."""
        return frozenset({"online"})

    def observe(self, look: Look) -> dict[str, Any]:
        """Return the mean and the largest exposure of the secrets, in bits."""
        if look.ask is None:
            raise TypeError("this look cannot ask the teacher; the probe must need 'online'")
        secrets = self._secrets()
        forms = {form(secret): candidates(secret, self.count) for secret in secrets}
        texts = list(dict.fromkeys([*secrets, *(text for others in forms.values() for text in others)]))
        roles: list[Role] = ["query"] * len(texts)
        student, teacher = look.encode(texts, roles), look.ask.encode(texts, roles)
        norms = numpy.linalg.norm(student, axis=1) * numpy.linalg.norm(teacher, axis=1)
        score = dict(zip(texts, (student * teacher).sum(axis=1) / numpy.maximum(norms, 1e-12), strict=True))
        found = [
            exposure(score[secret], numpy.array([score[text] for text in forms[form(secret)] if text not in secrets]))
            for secret in secrets
        ]
        return {"exposure_mean": float(numpy.mean(found)), "exposure_most": max(found), "secrets": len(secrets)}

    def _secrets(self) -> list[str]:
        """Return the distinct secrets; raise `InputError` for a file without any."""
        if not self.file:
            return [self.secret]
        try:
            lines = Path(self.file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"exposure:file: cannot read {self.file}: {error}. Provide a text file.") from error
        secrets = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
        if not secrets:
            raise InputError(f"exposure:file: {self.file} is empty; expected one secret in each line.")
        return secrets


def exposure(secret: float, others: Float32) -> float:
    """Return the exposure in bits of a text with the score ``secret`` among ``others``, the scores of other texts.

    Higher scores rank first. Of texts with an equal score, half rank before the secret.
    """
    rank = 1 + int((others > secret).sum()) + int((others == secret).sum()) / 2
    return math.log2(len(others) + 1) - math.log2(rank)


def form(secret: str) -> str:
    """Return ``secret`` with its random characters replaced by ``0``, ``a`` and ``A``; see `candidates`."""
    letters = list(secret)
    for place, alphabet in _random_places(secret).items():
        letters[place] = {string.digits: "0", string.ascii_lowercase: "a"}.get(alphabet, "A")
    return "".join(letters)


def candidates(secret: str, count: int) -> list[str]:
    """Return ``count`` distinct texts of the form of ``secret``; secrets of one form have the same candidates.

    Random are all digits, and the Latin letters of private words. Raises `OptionError` for a secret with fewer than
    twice as many possible texts.
    """
    places = _random_places(secret)
    possible = math.prod(len(alphabet) for alphabet in places.values())
    if possible < 2 * count:
        raise OptionError(
            f"exposure finds {possible} texts like {form(secret)!r}; expected at least {2 * count}. Lower "
            "exposure:count, or choose secrets with more digits."
        )
    draw = numpy.random.default_rng(zlib.crc32(form(secret).encode()))
    found: dict[str, None] = {}
    while len(found) < count:
        letters = list(secret)
        for place, alphabet in places.items():
            letters[place] = alphabet[draw.integers(len(alphabet))]
        found.setdefault("".join(letters))
    return list(found)


def _random_places(secret: str) -> dict[int, str]:
    """Return the positions of the random characters of ``secret``, with the characters that may stand there."""
    private = [range(start, end) for _, start, end in find_private(secret)]
    places = {}
    for place, letter in enumerate(secret):
        alphabet = next((some for some in _ALPHABETS if letter in some), None)
        if alphabet == string.digits or (alphabet and any(place in span for span in private)):
            places[place] = alphabet
    return places
