"""The test data of the screen, cut to sizes at which measuring a student costs no more than training it.

Retrieval: six collections, each with `QUERIES` queries for choosing doses (dev) and for reporting (test), and
`DOCUMENTS` documents: at most `JUDGED` relevant ones of each query, and others drawn at random. Documents are cut at
`CHARACTERS`. A smaller collection is easier, so its nDCG@10 is not comparable with published figures; differences
between students are what the screen measures. Where a collection has no dev queries, the dev queries are other queries
of its test split, or of its train split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy

from eval.screen.texts import MEASURED, ScreenTexts, labelled_split, shortened
from leafkit.evaluation.collection import Collection, read_collection
from leafkit.evaluation.grid import CellFinder, full_cell
from leafkit.evaluation.labelled_tables import read_table, split_file
from leafkit.evaluation.provenance import files_digest
from leafkit.files.digest import sha256_file
from leafkit.texts.read import read_texts
from leafkit.types import Encoder, Float32, Role

DEV, TEST = "dev", "test"
SPLITS = (DEV, TEST)
COLLECTIONS = {
    "nfcorpus": DEV,
    "scifact": "train",
    "squad-dev": DEV,
    "arguana": TEST,
    "tldr-commands": DEV,
    "debian-packages": DEV,
}
"""The folders in bench/, and the split that the dev queries are taken from."""

QUERIES = {DEV: 50, TEST: 150}
DOCUMENTS, JUDGED, CHARACTERS = 1200, 5, 500
PAIRS = {DEV: 300, TEST: 600}
FITTED, CLASSIFIED = 1500, {DEV: 400, TEST: 800}
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class SmallCollection:
    """One collection with its dev and test queries; both are judged on the same documents."""

    name: str
    parts: dict[str, Collection]

    @property
    def documents(self) -> list[str]:
        """The texts of the documents."""
        return self.parts[TEST].documents

    @cached_property
    def _finders(self) -> dict[str, CellFinder]:
        return {}

    def finder(self, teacher: Encoder) -> CellFinder:
        """Return an exhaustive search over the teacher's vectors of the documents, made once per teacher."""
        key = teacher.space.id
        if key not in self._finders:
            self._finders[key] = CellFinder(teacher.encode(self.documents, "document"), full_cell(teacher.space))
        return self._finders[key]


@dataclass(frozen=True, kw_only=True)
class RatedPairs:
    """Sentence pairs of STS-B with the similarity that people gave them."""

    left: list[str]
    right: list[str]
    ratings: list[float]


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Texts of Banking77 with their classes."""

    texts: list[str]
    labels: list[str]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Everything that a student is measured on.

    ``held_out`` are texts with their roles. ``rated`` and ``labelled`` are by split; ``fitted`` are the labelled texts
    that a classifier is fitted on. ``hashes`` are the SHA-256 of the data by name.
    """

    collections: Sequence[SmallCollection]
    held_out: Sequence[tuple[str, Role]]
    rated: dict[str, RatedPairs]
    fitted: LabelledTexts
    labelled: dict[str, LabelledTexts]
    hashes: dict[str, str]
    _teacher: dict[str, Float32] = field(default_factory=dict, repr=False)

    @property
    def identity(self) -> dict[str, Any]:
        """The hashes and sizes, which change when a figure can change."""
        sizes = [QUERIES, DOCUMENTS, JUDGED, CHARACTERS, PAIRS, FITTED, CLASSIFIED, MEASURED, list(COLLECTIONS.items())]
        return {"hashes": self.hashes, "sizes": sizes}

    def held_out_targets(self, teacher: Encoder) -> Float32:
        """Return the teacher's vectors of the held-out texts, (texts, dim)."""
        if teacher.space.id not in self._teacher:
            self._teacher[teacher.space.id] = encode_roles(teacher, self.held_out)
        return self._teacher[teacher.space.id]


def encode_roles(encoder: Encoder, texts: Sequence[tuple[str, Role]]) -> Float32:
    """Return the vectors of ``texts``, each encoded in its role, (texts, dim)."""
    roles: list[Role] = ["query", "document"]
    vectors = numpy.empty((len(texts), encoder.space.dim), dtype=numpy.float32)
    for role in roles:
        rows = [row for row, (_, its) in enumerate(texts) if its == role]
        if rows:
            vectors[rows] = encoder.encode([texts[row][0] for row in rows], role)
    return vectors


def read_benchmark(texts: ScreenTexts) -> Benchmark:
    """Read the benchmark from the folder ``bench`` of the data; raise `OptionError` if a part of it is missing."""
    bench = texts.data / "bench"
    collections = [read_small(bench / name, dev) for name, dev in COLLECTIONS.items()]
    valid = texts.held_out(MEASURED)
    rated = {split: _rated(bench / "stsb-en", split) for split in SPLITS}
    fitted, labelled = _labelled(bench / "banking77")
    hashes = {one.name: one.parts[TEST].sha256 for one in collections}
    hashes |= {"held-out": sha256_file(valid)}
    for name in ("stsb-en", "banking77"):
        files = {path.name: path for path in sorted((bench / name).glob("*.jsonl*"))}
        hashes[name] = files_digest(files.items())
    return Benchmark(
        collections=collections,
        held_out=[(text.full_text, text.role or "document") for text in read_texts(valid)],
        rated=rated,
        fitted=fitted,
        labelled=labelled,
        hashes=hashes,
    )


def read_small(folder: Path, dev: str) -> SmallCollection:
    """Read the collection in ``folder`` and cut it down; dev queries come from the split ``dev``."""
    whole = {split: read_collection(folder, split) for split in dict.fromkeys((TEST, dev))}
    chosen = {TEST: _drawn(whole[TEST].query_ids, QUERIES[TEST])}
    others = [query for query in whole[dev].query_ids if query not in chosen[TEST]]
    chosen[DEV] = _drawn(others, QUERIES[DEV])
    judged = {
        split: {query: _most_relevant(whole[of].judgements[query]) for query in chosen[split]}
        for split, of in ((TEST, TEST), (DEV, dev))
    }
    relevant = {document for queries in judged.values() for its in queries.values() for document in its}
    kept = _documents(whole[TEST].document_ids, relevant)
    parts = {split: _part(whole[of], judged[split], kept) for split, of in ((TEST, TEST), (DEV, dev))}
    return SmallCollection(name=folder.name, parts=parts)


def _most_relevant(judgements: dict[str, int]) -> dict[str, int]:
    """Return the `JUDGED` documents with the highest relevance, without documents that are judged irrelevant."""
    ranked = sorted(judgements.items(), key=lambda pair: (-pair[1], pair[0]))
    return {document: relevance for document, relevance in ranked[:JUDGED] if relevance > 0}


def _drawn(ids: Sequence[str], count: int) -> list[str]:
    order: list[int] = numpy.random.default_rng(_SEED).permutation(len(ids))[:count].tolist()
    return [ids[row] for row in sorted(order)]


def _documents(ids: Sequence[str], relevant: set[str]) -> list[int]:
    """Return the rows of the relevant documents and of others drawn at random, `DOCUMENTS` together."""
    rows = [row for row, document in enumerate(ids) if document in relevant]
    others = [row for row, document in enumerate(ids) if document not in relevant]
    order = numpy.random.default_rng(_SEED).permutation(len(others))[: max(0, DOCUMENTS - len(rows))]
    return sorted([*rows, *(others[place] for place in order.tolist())])


def _part(whole: Collection, judgements: dict[str, dict[str, int]], documents: Sequence[int]) -> Collection:
    texts = dict(zip(whole.query_ids, whole.queries, strict=True))
    return replace(
        whole,
        document_ids=[whole.document_ids[row] for row in documents],
        titles=[whole.titles[row] for row in documents],
        bodies=[whole.bodies[row] for row in documents],
        documents=[shortened(whole.documents[row], CHARACTERS) for row in documents],
        query_ids=list(judgements),
        queries=[shortened(texts[query], CHARACTERS) for query in judgements],
        judgements=judgements,
    )


def _rated(folder: Path, split: str) -> RatedPairs:
    columns: dict[str, Any] = {"sentence1": str, "sentence2": str, "score": (int, float)}
    table = read_table(split_file(folder, split), columns)
    rows = numpy.random.default_rng(_SEED).permutation(len(table["score"]))[: PAIRS[split]].tolist()
    return RatedPairs(
        left=[table["sentence1"][row] for row in rows],
        right=[table["sentence2"][row] for row in rows],
        ratings=[float(table["score"][row]) for row in rows],
    )


def _labelled(folder: Path) -> tuple[LabelledTexts, dict[str, LabelledTexts]]:
    """Return the texts to fit a classifier on, and those of dev and test; none of them is in the set ``labels``."""
    columns: dict[str, Any] = {"text": str, "label": (str, int)}
    train, test = (read_table(split_file(folder, split), columns) for split in ("train", TEST))
    _, free = labelled_split(len(train["text"]))
    tested = numpy.random.default_rng(_SEED).permutation(len(test["text"]))[: CLASSIFIED[TEST]].tolist()
    fitted = _labelled_rows(train, free[CLASSIFIED[DEV] :][:FITTED])
    return fitted, {DEV: _labelled_rows(train, free[: CLASSIFIED[DEV]]), TEST: _labelled_rows(test, tested)}


def _labelled_rows(table: dict[str, list[Any]], rows: Sequence[int]) -> LabelledTexts:
    return LabelledTexts(texts=[table["text"][row] for row in rows], labels=[str(table["label"][row]) for row in rows])
