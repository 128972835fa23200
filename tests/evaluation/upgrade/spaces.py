"""Two small spaces: old vectors in a file, and a new model whose vectors are a function of the old ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy

from leafkit.space import Space
from leafkit.vectors.cosine import unit_rows

DIM = 16


def drawn(rows: int, dim: int = DIM, seed: int = 0) -> numpy.ndarray:
    """Unit vectors in all directions, shape (rows, dim)."""
    return unit_rows(numpy.random.default_rng(seed).standard_normal((rows, dim)).astype(numpy.float32))


def rotation(dim: int = DIM, seed: int = 1) -> numpy.ndarray:
    """A random orthogonal matrix."""
    return numpy.linalg.qr(numpy.random.default_rng(seed).standard_normal((dim, dim)))[0].astype(numpy.float32)


def texts_of(rows: int) -> list[str]:
    return [f"text number {row}" for row in range(rows)]


class Model:
    """A model that knows the vectors of some texts in both roles, and remembers what it encoded."""

    signals = frozenset({"embeddings", "online"})

    def __init__(self, texts: Sequence[str], vectors: numpy.ndarray, name: str = "new") -> None:
        dim = vectors.shape[1]
        self.space = Space(
            teacher=name, weights=f"name:{name}", dim=dim, normalised=True, pooling="mean", max_length=64
        )
        self.encoded: list[tuple[str, str]] = []
        self._vectors = dict(zip(texts, unit_rows(vectors), strict=True))

    def encode(self, texts: Sequence[str], role: str) -> numpy.ndarray:
        self.encoded += [(role, text) for text in texts]
        # A text that it was not given, such as one by which models are recognised, gets a vector of its own.
        found = [self._vectors[text] if text in self._vectors else self._other(text) for text in texts]
        return numpy.array(found, dtype=numpy.float32).reshape(len(texts), self.space.dim)

    def _other(self, text: str) -> numpy.ndarray:
        return drawn(1, self.space.dim, seed=len(text))[0]


def write_old(path: Path, texts: Sequence[str], vectors: numpy.ndarray, roles: Sequence[str] | None = None) -> Path:
    """Write a vectors file without a space, as another tool does; all rows are documents unless ``roles`` says more."""
    numpy.save(path, vectors)
    rows = zip(texts, roles or ["document"] * len(texts), strict=True)
    path.with_suffix(".jsonl").write_text("\n".join(json.dumps({"text": text, "role": role}) for text, role in rows))
    return path


def write_judged(folder: Path, documents: Sequence[str], queries: Sequence[str], relevant: Sequence[int]) -> Path:
    """Write a folder in BEIR layout: the query in each row is answered by the document ``relevant``."""
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": f"{name[0]}{row}", "text": text}) for row, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    judgements = [f"q{query}\tc{row}\t1" for query, row in enumerate(relevant)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judgements]) + "\n")
    return folder
