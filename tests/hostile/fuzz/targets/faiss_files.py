"""FAISS files of every type that leafkit builds, read, searched and read back with and without a memory map."""

from __future__ import annotations

import contextlib
from functools import lru_cache, partial
from pathlib import Path

import numpy

from leafkit.errors import DamageError
from leafkit.index.fill import fill_index
from leafkit.search.faiss_fields import Fields, FormatError
from leafkit.search.faiss_file import check_faiss_file
from leafkit.search.faiss_index import Depth, FaissIndex
from leafkit.search.plan import plan_index
from leafkit.search.rescoring import encode
from leafkit.search.vector_search import VectorSearch
from tests.hostile.fuzz.mutations import Mutation, write_number
from tests.hostile.fuzz.target import Target, digest

ROWS = 320
# name: (precision, factory, dim)
TYPES = {
    "flat": ("float32", None, 12),
    "fp16": ("float16", None, 12),
    "int8": ("int8", None, 24),
    "int4": ("int4", None, 9),
    "hnsw": ("float32", "HNSW8", 8),
    "hnsw-int8": ("int8", "HNSW8", 8),
    "ivf": ("float32", "IVF6", 16),
    "ivf-int8": ("int8", "IVF6", 16),
    "ivf-hnsw": ("float16", "IVF6_HNSW4", 8),
    "pq": ("float32", "PQ4x4np", 8),
    "ivf-pq": ("float32", "IVF4,PQ4x4np", 8),
    "pq-fast": ("float32", "PQ4x4fs", 8),
    "ivf-pq-fast": ("float32", "IVF4,PQ4x4fs", 8),
    "rabitq": ("float32", "RaBitQ", 16),
    "ivf-rabitq": ("float32", "IVF4,RaBitQ", 16),
    "rabitq-fast": ("float32", "RaBitQfs", 16),
    "ivf-rabitq-fast": ("float32", "IVF4,RaBitQfs", 16),
    "refine": ("float32", "IVF4,PQ4x4fs,RFlat", 8),
    "refine-int8": ("float32", "PQ4x4np,Refine(SQ8)", 8),
    "pca": ("float32", "PCA8,IVF4,SQ8", 16),
    "opq": ("float32", "OPQ4,IVF4,PQ4x4np", 8),
    "itq": ("float32", "ITQ8,SQ8", 8),
    "binary": ("binary", None, 32),
    "binary-ivf": ("binary", "BIVF4", 32),
    "binary-hnsw": ("binary", "BHNSW8", 32),
}


@lru_cache
def vectors(dim: int, rows: int = ROWS, seed: int = 0) -> numpy.ndarray:
    """Draw unit vectors."""
    drawn = numpy.random.default_rng(seed).standard_normal((rows, dim)).astype(numpy.float32)
    return drawn / numpy.linalg.norm(drawn, axis=1, keepdims=True)


@lru_cache
def stored(dim: int) -> numpy.ndarray:
    """Return rescoring vectors."""
    return encode(vectors(dim), "float16")


def build(precision: str, factory: str | None, dim: int, folder: Path) -> None:
    """Write the index and its rescoring vectors."""
    plan = plan_index(ROWS, precision, factory)
    filled = fill_index(vectors(dim), plan, rescore="float16", threads=1)
    filled.index.write(folder / "index.faiss")


def use(precision: str, factory: str | None, dim: int, folder: Path) -> str:
    """Search the index in every way that leafkit does: mapped like a reader, and in memory like an update."""
    queries, rows = vectors(dim, 3, 1), numpy.arange(ROWS)
    bits = numpy.packbits(rows % 3 != 0, bitorder="little")
    mapped, loaded = (
        FaissIndex.read(folder / "index.faiss", dim=dim, binary=precision == "binary", memory_map=memory_map)
        for memory_map in (True, False)
    )
    if len(mapped) != ROWS:
        raise DamageError("a package compares the number of rows with the manifest")
    results: list[object] = []
    for selector in (None, bits) if mapped.supports_selector else (None,):
        results += [mapped.nearest(queries, count, bits=selector, depth=Depth()) for count in (8, 150)]
    if mapped.can_reconstruct:
        results.append(mapped.vectors(rows))
    search = VectorSearch(loaded, rescoring_vectors=stored(dim), live=bits)
    results += [search.search(queries, 3).rows, search.search(queries, 3, rows[::2]).rows]
    loaded.add(vectors(dim, 3, 2))
    results.append(loaded.nearest(queries, 8, bits=None, depth=Depth()))
    return digest(*results)


@lru_cache(maxsize=2)
def fields_of(content: bytes, dim: int, binary: bool) -> list[tuple[int, int]]:
    """List the place and the size in bytes of every field that the check of the file reads, up to an error."""
    places: list[tuple[int, int]] = []

    class Noted(Fields):
        def _advance(self, size: int) -> int:
            start = super()._advance(size)
            places.extend([(start, size)] if size else [])
            return start

    with contextlib.suppress(FormatError):
        check_faiss_file(Noted(content), dim=dim, binary=binary)
    return places


def change_field(precision: str, factory: str | None, dim: int) -> Mutation:
    """Return a mutation that changes one field, or one number of an array, of which each is as likely as another."""

    def mutate(content: bytes, random: numpy.random.Generator) -> bytes:
        places = fields_of(content, dim, precision == "binary") or [(0, len(content))]
        start, size = places[random.integers(len(places))]
        item = size if size in (1, 2, 4, 8) else int(random.choice([1, 4, 8]))
        return write_number(content, start + int(random.integers(max(1, size // item))) * item, item, random)

    return mutate


def change_array(precision: str, factory: str | None, dim: int) -> Mutation:
    """Return a mutation that shuffles a part of an array, or fills it with drawn bytes or with one number."""

    def mutate(content: bytes, random: numpy.random.Generator) -> bytes:
        places = [place for place in fields_of(content, dim, precision == "binary") if place[1] > 8]
        start, size = places[random.integers(len(places))] if places else (0, len(content))
        item = int(random.choice([2, 4, 8]))
        first = start + int(random.integers(1 + size // item // 2)) * item
        part = content[first : first + (start + size - first) // item * item]
        kind = random.integers(3)
        if kind == 0:
            part = random.permutation(numpy.frombuffer(part, f"<u{item}")).tobytes()
        elif kind == 1:
            part = random.bytes(len(part))
        else:
            part = write_number(part[:item], 0, item, random) * (len(part) // item)
        return content[:first] + part + content[first + len(part) :]

    return mutate


TARGETS = [
    Target(
        name=f"faiss-{name}",
        build=partial(build, *kind),
        use=partial(use, *kind),
        files=("index.faiss",),
        mutations=(change_field(*kind), change_array(*kind)),
        cases=10,
    )
    for name, kind in TYPES.items()
]
