"""The texts of the laboratory, with the features that a student reads and the vectors that it learns."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy

from eval import DATA
from leafkit.errors import InputError
from leafkit.types import Float32, Int64, Role, check_role

SOURCES = (
    "reddit-question",
    "trec-million-query",
    "wordnet",
    "arxiv-title",
    "opentriviaqa",
    "simplequestions",
    "acl-title",
    "powershell-docs",
)
"""The sources of the texts of ``mix``, which are short and differ in kind."""

OF_EACH, LONGEST = 700, 200
"""The number of texts of each source of ``mix``, and the characters of the longest."""

LONGEST_DOCUMENT = 300
"""The characters of a document of ``nfcorpus``: its title and first sentences."""


@dataclass(frozen=True, kw_only=True)
class LabTexts:
    """Texts with all that a training in the laboratory reads of them. Rows number the texts from 0.

    ``features`` (texts, inputs) are what the student reads, ``vectors`` (texts, dim) are the teacher's unit vectors.
    ``roles`` (0 query, 1 document), ``labels`` (-1 without a label), ``domains`` and ``lengths`` (in tokens) are of
    shape (texts,). ``pairs`` (pairs, 2) has the rows of a query and of a document that answers it.

    Texts of a token table have ``tokens``, the token ids of each text, and ``table`` (vocabulary, inputs), whose mean
    over the tokens is the text's features. Other texts have neither.
    """

    texts: tuple[str, ...]
    roles: Int64
    labels: Int64
    domains: Int64
    lengths: Int64
    pairs: Int64
    features: Float32
    vectors: Float32
    tokens: tuple[Int64, ...] = ()
    table: Float32 | None = None

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.texts)

    def choose(self, rows: Int64) -> LabTexts:
        """Return the texts ``rows``, renumbered in this order, with the pairs whose two texts are chosen."""
        place = numpy.full(len(self), -1)
        place[rows] = numpy.arange(len(rows))
        pairs = place[self.pairs]
        return replace(
            self,
            texts=tuple(self.texts[row] for row in rows),
            tokens=tuple(self.tokens[row] for row in rows) if self.tokens else (),
            pairs=pairs[(pairs >= 0).all(axis=1)],
            **{name: getattr(self, name)[rows] for name in ("roles", "labels", "domains", "lengths")},
            **{name: getattr(self, name)[rows] for name in ("features", "vectors")},
        )

    def split(self, seed: int, train: int, held_out: int) -> tuple[LabTexts, LabTexts]:
        """Return ``train`` and ``held_out`` texts, drawn from ``seed``; raise `InputError` if there are too few."""
        if train + held_out > len(self):
            raise InputError(f"got {len(self)} texts; expected at least {train + held_out}. Ask for fewer.")
        order = numpy.random.default_rng([seed, 29]).permutation(len(self))
        return self.choose(order[:train]), self.choose(order[train : train + held_out])


@dataclass(frozen=True, kw_only=True)
class RawTexts:
    """Texts as they were read: ``roles``, names of ``labels`` ("" for none) and ``domains``, and ``pairs`` of rows."""

    texts: list[str]
    roles: Sequence[Role]
    labels: list[str]
    domains: list[str]
    pairs: list[tuple[int, int]]

    @property
    def identity(self) -> str:
        """A hash of the texts and their roles."""
        content = json.dumps([self.texts, list(self.roles)], ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read(name: str, data: Path = Path(DATA)) -> RawTexts:
    """Read the texts ``name``: ``banking77`` (labels), ``mix`` (sources), ``squad`` or ``nfcorpus`` (pairs).

    The domains of ``nfcorpus`` are the splits of its queries, ``train``, ``dev`` and ``test``, and ``corpus``.

    Raises `InputError` if there is no such set, or if the folder ``data`` does not have the file.
    """
    readers = {"banking77": _banking, "mix": _mix, "squad": _squad, "nfcorpus": _nfcorpus}
    if name not in readers:
        raise InputError(f"the laboratory has no texts {name!r}; expected one of {', '.join(readers)}.")
    return readers[name](data)


def _banking(data: Path) -> RawTexts:
    rows = list(_lines(data / "bench" / "banking77" / "train.jsonl.gz"))
    rows = list({row["text"]: row for row in rows}.values())
    count = len(rows)
    roles: list[Role] = ["query"] * count
    return RawTexts(
        texts=[row["text"] for row in rows],
        roles=roles,
        labels=[row["label"] for row in rows],
        domains=["banking77"] * count,
        pairs=[],
    )


def _mix(data: Path) -> RawTexts:
    counts: Counter[str] = Counter()
    rows: dict[str, dict[str, Any]] = {}
    for row in _lines(data / "train" / "train-00.jsonl.gz"):
        source = row["source"]
        short = len(row["text"]) <= LONGEST and row["text"] not in rows
        if source in SOURCES and counts[source] < OF_EACH and short:
            counts[source] += 1
            rows[row["text"]] = row
        if sum(counts.values()) == OF_EACH * len(SOURCES):
            break
    return RawTexts(
        texts=list(rows),
        roles=[check_role(row["role"]) for row in rows.values()],
        labels=[""] * len(rows),
        domains=[row["source"] for row in rows.values()],
        pairs=[],
    )


def _squad(data: Path) -> RawTexts:
    folder = data / "bench" / "squad-dev"
    queries = {row["_id"]: row["text"] for row in _lines(folder / "queries.jsonl.gz")}
    documents = {row["_id"]: row["text"] for row in _lines(folder / "corpus.jsonl.gz")}
    place = {name: row for row, name in enumerate([*queries, *documents])}
    pairs = []
    for split in ("dev", "test"):
        for line in (folder / "qrels" / f"{split}.tsv").read_text().splitlines()[1:]:
            query, document, _ = line.split("\t")
            pairs.append((place[query], place[document]))
    count = len(place)
    roles: list[Role] = ["query" if row < len(queries) else "document" for row in range(count)]
    return RawTexts(
        texts=[*queries.values(), *documents.values()],
        roles=roles,
        labels=[""] * count,
        domains=["squad"] * count,
        pairs=pairs,
    )


def _nfcorpus(data: Path) -> RawTexts:
    folder = data / "bench" / "nfcorpus"
    split_of: dict[str, str] = {}
    judged: list[tuple[str, str]] = []
    for split in ("train", "dev", "test"):
        for line in (folder / "qrels" / f"{split}.tsv").read_text().splitlines()[1:]:
            query, document, _ = line.split("\t")
            split_of[query] = split
            judged.append((query, document))
    queries = {row["_id"]: row["text"] for row in _lines(folder / "queries.jsonl.gz") if row["_id"] in split_of}
    documents = {
        row["_id"]: f"{row.get('title', '')} {row['text']}".strip()[:LONGEST_DOCUMENT]
        for row in _lines(folder / "corpus.jsonl.gz")
    }
    place = {name: row for row, name in enumerate([*queries, *documents])}
    roles: list[Role] = ["query" if row < len(queries) else "document" for row in range(len(place))]
    return RawTexts(
        texts=[*queries.values(), *documents.values()],
        roles=roles,
        labels=[""] * len(place),
        domains=[*(split_of[query] for query in queries), *["corpus"] * len(documents)],
        pairs=[(place[query], place[document]) for query, document in judged],
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror or error}. The laboratory reads the data sets below {DATA}; run it "
            "from the root of a checkout that has them."
        ) from error


def numbered(names: Sequence[str]) -> Int64:
    """Return the place of each name among the sorted distinct names, -1 for ``""``."""
    place = {name: number for number, name in enumerate(sorted(set(names) - {""}))}
    return numpy.array([place.get(name, -1) for name in names], dtype=numpy.int64)
