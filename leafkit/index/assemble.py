"""Vectors to the files of an index: spooled to disk as they come, then trained, stored and described."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError, VectorError
from leafkit.files.progress import progress
from leafkit.search import finder as finding
from leafkit.search.documents import Documents
from leafkit.search.faiss_index import FaissIndex
from leafkit.search.finder import Built
from leafkit.search.manifest import part_name
from leafkit.search.plan import check_precision, check_rescore, plan_index
from leafkit.search.rescoring import blocks_of, encode, write_kept
from leafkit.texts.record import Text
from leafkit.types import Encoder, Float32
from leafkit.vectors.cached import CachedEncoder
from leafkit.vectors.check import check_vectors
from leafkit.vectors.cosine import check_dim, unit_prefix
from leafkit.vectors.mapping import LinearMap

# A block is encoded, cut and spooled at a time: 100 MB at 384 components, whatever the size of the corpus.
BLOCK = 65_536

VectorsOf = Callable[[Documents], Iterable[Float32]]


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """How an index stores its vectors; see `leafkit.index.build.build_index`."""

    dim: int
    precision: str = "float32"
    factory: str | None = None
    rescore: str | None = None
    seed: int = 0
    threads: int | None = None

    @classmethod
    def checked(cls, width: int, *, dim: int | None, **fields: object) -> IndexOptions:
        """The options for vectors of ``width``; raises `OptionError` for any that cannot work, before costly work."""
        options = cls(dim=check_dim(dim, width), **fields)  # type: ignore[arg-type]
        check_precision(options.precision)
        check_rescore(options.rescore)
        if options.threads is not None and options.threads < 1:
            raise OptionError(f"threads is {options.threads}, wanted 1 or more")
        FaissIndex.empty(plan_index(0, options.precision, options.factory), options.dim)
        return options


def teacher_vectors(encoder: Encoder) -> VectorsOf:
    """A function that has ``encoder`` encode documents, a block at a time, in its document role."""
    return lambda documents: _encoded(encoder, documents)


def check_given(
    vectors: NDArray[Any], ids: Sequence[str], payload: Sequence[Mapping[str, Any]] | None, *, dim: int
) -> None:
    """Raise `VectorError` unless there is a vector of ``dim``, an id and, where given, a payload for each document."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise VectorError(f"got vectors of shape {vectors.shape}, wanted rows of {dim} components")
    if len(ids) != len(vectors) or (payload is not None and len(payload) != len(ids)):
        rows = "" if payload is None else f" and {len(payload)} payloads"
        raise VectorError(f"got {len(ids)} ids, {len(vectors)} vectors{rows}; wanted one of each for a document")


def spool(path: Path, blocks: Iterable[Float32], *, rows: int, dim: int) -> Float32:
    """A memory map of ``rows`` unit vectors of ``dim`` components, written to ``path`` from wider ``blocks``."""
    # Not through a memory map: a full disk must be an OSError, not a SIGBUS.
    done = 0
    with open(path, "wb") as file:
        for block in blocks:
            source = f"the documents' vectors{f', after the first {done:,}' if done else ''}"
            file.write(unit_prefix(block, dim, source=source).data)
            done += len(block)
    if not rows:
        return numpy.empty((0, dim), dtype=numpy.float32)
    return numpy.memmap(path, dtype=numpy.float32, mode="r", shape=(rows, dim))


def mapped_blocks(blocks: Iterable[Float32], mapping: LinearMap | None) -> Iterable[Float32]:
    """``blocks`` of documents' vectors in the coordinates of ``mapping``, if there is one."""
    return blocks if mapping is None else (mapping.apply(block, "document") for block in blocks)


def some_rows(vectors: Float32, most: int, seed: int) -> Float32:
    """At most ``most`` rows of ``vectors``, drawn with ``seed``, in memory."""
    if len(vectors) <= most:
        return numpy.array(vectors)
    return vectors[numpy.sort(numpy.random.default_rng(seed).choice(len(vectors), most, replace=False))]


def store_vectors(
    folder: Path, generation: int, vectors: Float32, options: IndexOptions
) -> tuple[Built, dict[str, str]]:
    """Build and write the index of ``vectors``, and the vectors to keep beside it; gives the names of both parts."""
    plan = plan_index(len(vectors), options.precision, options.factory)
    with progress("index", total=len(vectors), unit="vectors") as bar:
        built = finding.build(
            vectors, plan, rescore=options.rescore, seed=options.seed, thread_count=options.threads, advance=bar.update
        )
    parts = {"index": part_name("index", generation)}
    built.index.write(folder / parts["index"])
    if built.rescore != "none":
        parts["vectors"] = part_name("vectors", generation)
        codes = (encode(block, built.rescore) for block in blocks_of(vectors))
        write_kept(folder / parts["vectors"], codes, shape=vectors.shape, precision=built.rescore)
    return built, parts


def _encoded(encoder: Encoder, documents: Documents) -> Iterator[Float32]:
    total = len(documents)
    for start in range(0, total, BLOCK):
        end = min(start + BLOCK, total)
        texts = [_content(documents, row) for row in range(start, end)]
        if isinstance(encoder, CachedEncoder):
            label = "documents" if total <= BLOCK else f"documents {start + 1:,} to {end:,} of {total:,}"
            yield encoder.store.gather(encoder.store.fill(encoder.teacher, texts, "document", label=label))
        else:
            vectors = encoder.encode(texts, "document")
            yield check_vectors(vectors, rows=len(texts), dim=encoder.space.dim, source="the documents' vectors")


def _content(documents: Documents, row: int) -> str:
    document = documents[row]
    return Text(id=document.id, text=document.payload["text"], title=document.payload.get("title", "")).full_text
