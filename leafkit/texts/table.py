"""Reading sources into a table of distinct texts: text, role, key, label and domain of each."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath

import numpy

from leafkit.errors import TextError
from leafkit.files.digest import text_key
from leafkit.texts.options import ReadingOptions, TextOptions
from leafkit.texts.read import read_texts
from leafkit.types import ROLES, Int64, Role, check_role

Sources = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass
class TextTable:
    """Distinct texts in the order in which they were read.

    texts, roles, keys: the text, role and hash (`leafkit.files.digest.text_key`) of each.
    labels: the value of the column ``label``, or None.
    domains: the value of the column ``source``, or the name of the source.
    counts: the number of texts per (role, domain).
    repeated: the number of texts that were skipped because they occurred before in the same role.
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
        """Return a table of the texts at ``rows``, without counts."""
        return TextTable(
            texts=[self.texts[row] for row in rows],
            roles=[self.roles[row] for row in rows],
            keys=[self.keys[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            domains=[self.domains[row] for row in rows],
        )

    def label_ids(self) -> Int64:
        """Return the class of each text, shape (texts,): labels numbered alphabetically, -1 for no label."""
        labels = sorted({label for label in self.labels if label is not None})
        numbers = {label: number for number, label in enumerate(labels)}
        return numpy.array([-1 if label is None else numbers[label] for label in self.labels], dtype=numpy.int64)

    def domain_ids(self) -> Int64:
        """Return the domain of each text, shape (texts,): domains numbered alphabetically."""
        numbers = {domain: number for number, domain in enumerate(sorted(set(self.domains)))}
        return numpy.array([numbers[domain] for domain in self.domains], dtype=numpy.int64)

    def signals(self) -> frozenset[str]:
        """Return what a method can learn from besides the texts: ``labels``, ``domains``, both or neither."""
        labels = {"labels"} if any(label is not None for label in self.labels) else set()
        domains = {"domains"} if len(set(self.domains)) > 1 else set()
        return frozenset(labels | domains)

    def digest(self) -> str:
        """Return a hash of all texts, their roles and their order, 16 hexadecimal digits."""
        return hashlib.sha256(b"".join(self.keys)).hexdigest()[:16]


def distinct_texts(sources: Sources, options: TextOptions) -> TextTable:
    """Read ``sources`` into a table, each text once per role, up to the limits that ``options`` sets for each role.

    Raises `TextError` if there is no text at all.
    """
    default_role = check_role(options.role)
    names = [sources] if isinstance(sources, str | PathLike) else list(sources)
    # All sources are opened before any is read: a misspelt last file must fail at once, not after an hour of reading.
    readers = [read_texts(name, **options.only(ReadingOptions)) for name in names]
    table = TextTable()
    seen: set[bytes] = set()
    limits: dict[Role, float] = {
        "query": math.inf if options.queries is None else options.queries,
        "document": math.inf if options.documents is None else options.documents,
    }
    taken: Counter[Role] = Counter()
    for name, reader in zip(names, readers, strict=True):
        for text in reader:
            role = text.role or default_role
            if taken[role] >= limits[role]:
                if all(taken[each] >= limits[each] for each in ROLES):
                    break
                continue
            key = text_key(role, text.full_text)
            if key in seen:
                table.repeated += 1
                continue
            seen.add(key)
            taken[role] += 1
            label, domain = text.payload.get("label"), str(text.payload.get("source") or fspath(name))
            table.add(text.full_text, role, key, label=None if label is None else str(label), domain=domain)
            table.counts[role, domain] += 1
    if not table.texts:
        raise TextError(
            f"there are no texts in {', '.join(fspath(name) for name in names) or 'the empty list of sources'}."
        )
    return table
