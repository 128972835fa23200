"""Fingerprints: the vectors of a few texts by which a vector space is recognised.

A space id hashes weight files, so two copies of one model in other precisions or formats have two ids. What makes them
one space is that they write the same vectors. A fingerprint therefore holds texts of both roles with the teacher's
vectors, and an encoder belongs to the space if its own vectors of these texts agree. Every student and every index
carries the fingerprint of the teacher's space, before any rotation or fold.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy

from leafkit.errors import DamageError, VectorError
from leafkit.files.atomic import write_json
from leafkit.files.json_file import MOST_BYTES, explain_invalid, parse_json_object, read_json_object
from leafkit.files.open_files import OpenFiles
from leafkit.space import Space
from leafkit.types import ROLES, Encoder, Float32, Role
from leafkit.vectors.check import check_vectors
from leafkit.vectors.cosine import row_cosines
from leafkit.vectors.encode import encode_by_role
from leafkit.vectors.golden_texts import GOLDEN

FINGERPRINT = "fingerprint.json"
FORMAT, VERSION = "leafkit-fingerprint", 1
# The least cosine with which a copy of the model writes the vectors of a space, and the least ratio of two lengths.
# Chosen on two models and checked on a third (eval/results/fingerprints.md): copies in float16, bfloat16 and float32
# ONNX have at least 0.9998; noise of 1 % in the weights and 20 steps of fine-tuning leave at most 0.9996. Noise of
# 0.1 % and fewer steps can lie above the bound, and such a model counts as a copy.
MIN_COSINE, MIN_LENGTH = 0.9997, 0.99
# Fewer common texts than this prove nothing.
MIN_TEXTS = 8
MOST_TEXTS = 1024  # of a file that is read; `read_json_object` limits its bytes


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How closely an encoder's vectors agree with a fingerprint over ``count`` texts.

    cosine: the least cosine, which is that of ``text`` in ``role``.
    length: the least ratio of the shorter to the longer of two vectors.
    """

    cosine: float
    text: str
    role: Role
    length: float
    count: int

    @property
    def is_same_space(self) -> bool:
        """Whether the vectors are those of the space, up to rounding."""
        return self.cosine >= MIN_COSINE and self.length >= MIN_LENGTH

    @property
    def shortfall(self) -> str:
        """What was measured, for which text, and what was expected; for the message that refuses a teacher."""
        text = f"{self.text[:60]}..." if len(self.text) > 60 else self.text
        return f"{self}, for the {self.role} {text!r}; expected at least {MIN_COSINE}"

    def __str__(self) -> str:
        lengths = "" if self.length >= MIN_LENGTH else f", least ratio of lengths {self.length:.4f}"
        return f"least cosine {self.cosine:.5f} over {self.count} texts{lengths}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprint:
    """Texts in their roles, and the vectors that the teacher of ``space`` writes for them, shape (texts, space.dim)."""

    space: Space
    texts: tuple[tuple[str, Role], ...]
    vectors: Float32

    @cached_property
    def _rows(self) -> dict[tuple[str, Role], int]:
        return {pair: row for row, pair in enumerate(self.texts)}

    def agreement(self, other: Fingerprint) -> Agreement | None:
        """Compare ``other`` with this fingerprint.

        None if they cannot be compared: another width, fewer than eight common texts, or none of a role.
        """
        common = [(row, self._rows[pair]) for row, pair in enumerate(other.texts) if pair in self._rows]
        roles = {self.texts[own][1] for _, own in common}
        if len(common) < min(MIN_TEXTS, len(self.texts)) or roles != {role for _, role in self.texts}:
            return None
        if other.space.dim != self.space.dim:
            return None
        theirs, ours = (list(rows) for rows in zip(*common, strict=True))
        vectors = other.vectors[theirs], self.vectors[ours]
        cosines = row_cosines(*vectors)
        lengths = numpy.sort([numpy.linalg.norm(rows, axis=1) for rows in vectors], axis=0)
        least = int(cosines.argmin())
        text, role = self.texts[ours[least]]
        ratio = float((lengths[0] / lengths[1]).min())
        return Agreement(cosine=float(cosines[least]), text=text, role=role, length=ratio, count=len(common))

    def save(self, folder: Path) -> None:
        """Write the fingerprint to the file fingerprint.json in ``folder``."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "space": self.space.to_json(),
            "dim": self.space.dim,
            "texts": [{"role": role, "text": text} for text, role in self.texts],
            "vectors": base64.b64encode(self.vectors.astype("<f4").tobytes()).decode(),
        }
        write_json(folder / FINGERPRINT, {**content, "sha256": _digest(content)})

    def __str__(self) -> str:
        queries = sum(role == "query" for _, role in self.texts)
        return f"{queries} queries and {len(self.texts) - queries} documents with the teacher's vectors"


def take_fingerprint(encoder: Encoder, texts: Sequence[tuple[str, Role]] = GOLDEN) -> Fingerprint:
    """Let ``encoder`` encode ``texts`` and return its fingerprint; raises `VectorError` for vectors without use."""
    strings, roles = [text for text, _ in texts], list[Role](role for _, role in texts)
    vectors = encode_by_role(encoder, strings, roles, source=f"the fingerprint of {encoder.space.teacher}")
    return Fingerprint(space=encoder.space, texts=tuple(texts), vectors=vectors)


def read_fingerprint(folder: Path, space: Space, files: OpenFiles | None = None) -> Fingerprint | None:
    """Return the fingerprint of ``space`` in ``folder``, or None for a folder of an earlier leafkit, which has none.

    space: the space before any rotation or fold.
    files: the open files of the folder; None opens the file of the fingerprint.

    Raises `DamageError` if the file is damaged or describes another space.
    """
    file = folder / FINGERPRINT
    if files is None and not file.is_file():
        return None
    advice = "Copy the folder again."
    with explain_invalid(file, expected="a fingerprint", advice=advice):
        content = (
            read_json_object(file) if files is None else parse_json_object(files.read(file, most_bytes=MOST_BYTES))
        )
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {content['format']} version {content['version']}; expected {FORMAT} {VERSION}")
        if content.pop("sha256") != _digest(content):
            raise ValueError("its SHA-256 differs: it was changed")
        fingerprint = _parse(content, where=str(file))
    if fingerprint.space.id != space.id:
        raise DamageError(f"{file} describes the space {fingerprint.space.id}; expected {space.id}. {advice}")
    return fingerprint


def _parse(content: dict[str, Any], where: str) -> Fingerprint:
    space = Space.from_json(content["space"], where=where)
    texts = tuple((entry["text"], entry["role"]) for entry in content["texts"])
    if not 1 <= len(texts) <= MOST_TEXTS or len(set(texts)) < len(texts):
        raise ValueError(f"it has {len(texts)} texts; expected 1 to {MOST_TEXTS} different ones")
    if not all(isinstance(text, str) and role in ROLES for text, role in texts):
        raise ValueError("a text is not a string in the role query or document")
    if type(space.dim) is not int or content["dim"] != space.dim:
        raise ValueError(f"its width is {content['dim']!r}; expected {space.dim!r}")
    stored = base64.b64decode(content["vectors"], validate=True)
    if len(stored) != 4 * len(texts) * space.dim:
        raise ValueError(f"its vectors have {len(stored)} bytes; expected {4 * len(texts) * space.dim}")
    vectors = numpy.frombuffer(stored, dtype="<f4").reshape(len(texts), space.dim).astype(numpy.float32)
    try:
        check_vectors(vectors, rows=len(texts), dim=space.dim, source=where)
    except VectorError as error:
        raise ValueError(str(error)) from error
    return Fingerprint(space=space, texts=texts, vectors=vectors)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
