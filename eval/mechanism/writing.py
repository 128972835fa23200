"""Written texts in the laboratory: a table of given texts, the teacher to ask, and the features of what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy

from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts, RawTexts
from leafkit.files.digest import text_key
from leafkit.texts.table import TextTable
from leafkit.types import ROLES, Float32, Role


class LabAsk:
    """Asks the teacher of ``lab``; see `leafkit.methods.ask.Ask`. Answers are cached on disk."""

    def __init__(self, lab: Lab) -> None:
        self._encoder = lab._encoder(lab.teacher)
        self.calls = 0

    def encode(self, texts: Sequence[str], roles: Sequence[Role]) -> Float32:
        """Return the teacher's vectors of ``texts``, (texts, dim)."""
        self.calls += len(texts)
        vectors = numpy.empty((len(texts), self._encoder.space.dim), dtype=numpy.float32)
        for role in ROLES:
            rows = [row for row, each in enumerate(roles) if each == role]
            if rows:
                vectors[rows] = self._encoder.encode([texts[row] for row in rows], role)
        return vectors

    def vocabulary(self) -> list[str]:
        """Return the tokens of the teacher in the order of their ids."""
        places = self._encoder.teacher.model.tokenizer.get_vocab()  # pyright: ignore[reportAttributeAccessIssue]
        return sorted(places, key=places.__getitem__)


def table_of(texts: LabTexts) -> TextTable:
    """Return ``texts`` as a writer reads them; equal texts of a role stay one."""
    table = TextTable()
    for text, role in dict.fromkeys(zip(texts.texts, (ROLES[role] for role in texts.roles), strict=True)):
        table.add(text, role, text_key(role, text))
    return table


def prepared(
    lab: Lab, parts: Mapping[str, Sequence[tuple[str, Role]]], held_out: LabTexts
) -> tuple[dict[str, LabTexts], LabTexts]:
    """Return each of ``parts`` and the ``held_out`` texts with features that are standardised over all of them."""
    held = [(text, ROLES[role]) for text, role in zip(held_out.texts, held_out.roles, strict=True)]
    every = list(dict.fromkeys([*held, *(one for part in parts.values() for one in part)]))
    place = {one: row for row, one in enumerate(every)}
    raw = RawTexts(
        texts=[text for text, _ in every],
        roles=[role for _, role in every],
        labels=[""] * len(every),
        domains=["lab"] * len(every),
        pairs=[],
    )
    # The laboratory's own preparation, for texts that are none of its sets.
    texts = lab._prepared(raw, 1)

    def rows(part: Sequence[tuple[str, Role]]) -> LabTexts:
        return texts.choose(numpy.array([place[one] for one in part], dtype=numpy.int64))

    return {name: rows(part) for name, part in parts.items()}, rows(held)
