"""The distinct texts of some sources as a table: text, role, key, label and domain of each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath

import numpy

from leafkit.errors import TextError
from leafkit.files.digest import text_key
from leafkit.texts.options import ReadingOptions, TextOptions
from leafkit.texts.read import read_texts
from leafkit.types import Int64, Role, check_role

Sources = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass
class TextTable:
    """Distinct texts in the order read; ``counts`` says how many by (role, source), ``repeated`` were left out.

    ``labels`` are what the column ``label`` says, None where it says nothing; ``domains`` are the sources.
    """

    texts: list[str] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeated: int = 0

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.texts)

    def add(self, text: str, role: Role, key: bytes, *, label: str | None = None, domain: str = "") -> None:
        """Append one text."""
        self.texts.append(text)
        self.roles.append(role)
        self.keys.append(key)
        self.labels.append(label)
        self.domains.append(domain)

    def choose(self, rows: Sequence[int]) -> TextTable:
        """The texts of ``rows`` alone, without their counts."""
        return TextTable(
            texts=[self.texts[row] for row in rows],
            roles=[self.roles[row] for row in rows],
            keys=[self.keys[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            domains=[self.domains[row] for row in rows],
        )

    def label_ids(self) -> Int64:
        """The class of each text as a number, in alphabetical order; -1 where there is none."""
        numbers = {label: number for number, label in enumerate(sorted({x for x in self.labels if x is not None}))}
        return numpy.array([-1 if label is None else numbers[label] for label in self.labels], dtype=numpy.int64)

    def domain_ids(self) -> Int64:
        """The source of each text as a number, in alphabetical order."""
        numbers = {domain: number for number, domain in enumerate(sorted(set(self.domains)))}
        return numpy.array([numbers[domain] for domain in self.domains], dtype=numpy.int64)

    def signals(self) -> frozenset[str]:
        """What these texts offer a method: ``labels``, ``domains``, both or neither."""
        found = {"labels"} if any(label is not None for label in self.labels) else set()
        return frozenset(found | ({"domains"} if len(set(self.domains)) > 1 else set()))

    def digest(self) -> str:
        """A hash that differs when any text, role or their order does."""
        return hashlib.sha256(b"".join(self.keys)).hexdigest()[:16]


def distinct_texts(sources: Sources, options: TextOptions) -> TextTable:
    """Read ``sources`` and keep each text once per role; raises `TextError` if there is no text at all."""
    role = check_role(options.role)
    several = [sources] if isinstance(sources, str | PathLike) else list(sources)
    # All are opened before any is read: a misspelt last file must not be found after an hour.
    readers = [read_texts(source, **options.only(ReadingOptions)) for source in several]
    found = TextTable()
    seen: set[bytes] = set()
    left: dict[Role, int | None] = {"query": options.queries, "document": options.documents}
    for source, reader in zip(several, readers, strict=True):
        for text in reader:
            its = text.role or role
            if left[its] == 0:
                if not any(left.values()) and None not in left.values():
                    break
                continue
            key = text_key(its, text.full_text)
            if key in seen:
                found.repeated += 1
                continue
            seen.add(key)
            most = left[its]
            left[its] = None if most is None else most - 1
            label, domain = text.payload.get("label"), str(text.payload.get("source") or fspath(source))
            found.add(text.full_text, its, key, label=None if label is None else str(label), domain=domain)
            found.counts[its, domain] += 1
    if not found.texts:
        raise TextError(f"no texts in {', '.join(fspath(source) for source in several) or 'no sources'}")
    return found
