"""Reading sources into a table of distinct texts: text, role, key, label and domain of each."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath

import numpy

from leafkit.errors import TextError
from leafkit.files.digest import text_key
from leafkit.texts.options import ReadingOptions, TextOptions
from leafkit.texts.pairs import PairReader, no_pairs
from leafkit.texts.read import read_texts
from leafkit.texts.record import Text
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
    pairs: the rows of a query and of a document that its column ``pair`` names, shape (pairs, 2).
    """

    texts: list[str] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeated: int = 0
    pairs: Int64 = field(default_factory=no_pairs, compare=False)

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
        """Return a table of the texts at ``rows``, without counts, with the pairs of which both texts are chosen."""
        return TextTable(
            texts=[self.texts[row] for row in rows],
            roles=[self.roles[row] for row in rows],
            keys=[self.keys[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            domains=[self.domains[row] for row in rows],
            pairs=self._pairs_among(rows),
        )

    def _pairs_among(self, rows: Sequence[int]) -> Int64:
        """Return the pairs whose two texts are among ``rows``, numbered by their place in ``rows``."""
        if not len(self.pairs):
            return self.pairs
        place = numpy.full(len(self), -1, dtype=numpy.int64)
        place[list(rows)] = numpy.arange(len(rows))
        pairs = place[self.pairs]
        return pairs[(pairs >= 0).all(axis=1)]

    def role_ids(self) -> Int64:
        """Return the role of each text, shape (texts,): 0 for a query, 1 for a document."""
        return numpy.array([ROLES.index(role) for role in self.roles], dtype=numpy.int64)

    def label_ids(self, known: TextTable | None = None) -> Int64:
        """Return the class of each text, shape (texts,): labels numbered alphabetically, -1 for no label.

        With ``known``, the numbers are those of the labels in that table, -1 for a label that it does not have.
        """
        labels = sorted({label for label in (known or self).labels if label is not None})
        numbers = {label: number for number, label in enumerate(labels)}
        return numpy.array(
            [-1 if label is None else numbers.get(label, -1) for label in self.labels], dtype=numpy.int64
        )

    def domain_ids(self) -> Int64:
        """Return the domain of each text, shape (texts,): domains numbered alphabetically."""
        numbers = {domain: number for number, domain in enumerate(sorted(set(self.domains)))}
        return numpy.array([numbers[domain] for domain in self.domains], dtype=numpy.int64)

    def signals(self) -> frozenset[str]:
        """Return what a method can learn from besides the texts: any of ``labels``, ``domains`` and ``pairs``."""
        labels = {"labels"} if any(label is not None for label in self.labels) else set()
        domains = {"domains"} if len(set(self.domains)) > 1 else set()
        pairs = {"pairs"} if len(self.pairs) else set()
        return frozenset(labels | domains | pairs)

    def digest(self) -> str:
        """Return a hash of all texts, their roles, their order and their pairs, 16 hexadecimal digits."""
        return hashlib.sha256(b"".join(self.keys) + self.pairs.astype("<i8").tobytes()).hexdigest()[:16]


def distinct_texts(sources: Sources, options: TextOptions, *, pairs: bool = True) -> TextTable:
    """Read ``sources`` into a table, each text once per role, up to the limits that ``options`` sets for each role.

    If ``pairs`` is true and a query has a column ``pair``, the sources are read a second time to find the documents
    with these ids. Raises `TextError` if there is no text at all, and for a pair whose document does not exist.
    """
    default_role = check_role(options.role)
    names = [sources] if isinstance(sources, str | PathLike) else list(sources)
    # All sources are opened before any is read: a misspelt last file must fail at once, not after an hour of reading.
    readers = [read_texts(name, **options.only(ReadingOptions)) for name in names]
    table, named = TextTable(), PairReader()
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
            if pairs:
                named.add(text, role, key)
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
    table.pairs = named.rows(table.keys, _with_keys(names, options, default_role))
    return table


def _with_keys(
    names: Sequence[str | PathLike[str]], options: TextOptions, default_role: Role
) -> Iterator[tuple[Text, Role, bytes]]:
    """Read the sources ``names`` and yield every text with its role and hash."""
    for name in names:
        for text in read_texts(name, **options.only(ReadingOptions)):
            role = text.role or default_role
            yield text, role, text_key(role, text.full_text)
