"""The vectors of a package: spooled to disk as they arrive, then written as a FAISS index with rescoring vectors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.files.progress import progress
from leafkit.index.fill import FilledIndex, write_filled
from leafkit.index.package_files import lists_name, part_name
from leafkit.search.arrays import blocks_of
from leafkit.search.faiss_index import FaissIndex
from leafkit.search.plan import check_precision, check_rescore, plan_index
from leafkit.search.rescoring import DTYPES, encode
from leafkit.types import Float32
from leafkit.vectors.cosine import unit_prefix
from leafkit.vectors.mapping import LinearMap


@dataclass(frozen=True, kw_only=True)
class VectorStorage:
    """How a package stores its vectors. The options are those of `leafkit.build_index`, with ``dim`` resolved."""

    dim: int
    precision: str = "float32"
    factory: str | None = None
    rescore: str | None = None
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        """Raise `OptionError` for any option that cannot work, before documents are read or encoded."""
        check_precision(self.precision)
        check_rescore(self.rescore)
        if self.threads is not None and self.threads < 1:
            raise OptionError(f"threads is {self.threads}; expected at least 1.")
        FaissIndex.empty(plan_index(0, self.precision, self.factory), self.dim)


def spool(path: Path, blocks: Iterable[Float32], *, rows: int, dim: int) -> Float32:
    """Write the first ``dim`` components of ``blocks``, scaled to length 1, to ``path`` and return a memory map of it.

    ``rows`` is the total number of rows. Raises `VectorError` for a row that has no direction.
    """
    done = 0
    # Not written through a memory map: a full disk must raise an OSError, not the signal SIGBUS.
    with open(path, "wb") as file:
        for block in blocks:
            source = f"the documents' vectors{f' from document {done + 1:,} on' if done else ''}"
            file.write(unit_prefix(block, dim, source=source).data)
            done += len(block)
    if not rows:
        return numpy.empty((0, dim), dtype=numpy.float32)
    return numpy.memmap(path, dtype=numpy.float32, mode="r", shape=(rows, dim))


def map_blocks(blocks: Iterable[Float32], mapping: LinearMap | None) -> Iterable[Float32]:
    """Apply ``mapping`` to ``blocks`` of document vectors; without a mapping return them unchanged."""
    return blocks if mapping is None else (mapping.apply(block, "document") for block in blocks)


def write_vectors(
    folder: Path, generation: int, vectors: Float32, storage: VectorStorage
) -> tuple[FilledIndex, dict[str, str]]:
    """Index unit ``vectors`` (rows, dim) and write the FAISS index and any rescoring vectors into ``folder``.

    Returns the index and the file name of each part written.
    """
    plan = plan_index(len(vectors), storage.precision, storage.factory)
    parts = {"index": part_name("index", generation)}
    with progress("index", total=len(vectors), unit="vectors") as bar:
        filled = write_filled(
            folder / parts["index"],
            vectors,
            plan,
            spool=folder / lists_name(generation),
            rescore=storage.rescore,
            seed=storage.seed,
            threads=storage.threads,
            advance=bar.update,
        )
    if filled.rescore != "none":
        parts["vectors"] = part_name("vectors", generation)
        codes = (encode(block, filled.rescore) for block in blocks_of(vectors))
        write_rescoring_vectors(folder / parts["vectors"], codes, shape=vectors.shape, precision=filled.rescore)
    return filled, parts


def write_rescoring_vectors(
    path: Path, blocks: Iterable[NDArray[Any]], *, shape: tuple[int, ...], precision: str
) -> None:
    """Write encoded ``blocks``, which together have ``shape``, as one ``.npy`` file."""
    header = {"descr": numpy.dtype(DTYPES[precision]).str, "fortran_order": False, "shape": shape}
    # Not written through a memory map: a full disk must raise an OSError, not the signal SIGBUS.
    with open(path, "wb") as file:
        numpy.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(numpy.ascontiguousarray(block).data)
