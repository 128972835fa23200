"""Train and fill a FAISS index with document vectors, and choose the rescoring vectors that it needs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.index.lists_on_disk import RUN_ROWS, can_fill_on_disk, fill_on_disk
from leafkit.search.arrays import blocks_of
from leafkit.search.faiss_index import FaissIndex, faiss_threads
from leafkit.search.plan import Plan, check_rescore, plan_index
from leafkit.search.rescoring import decode, encode
from leafkit.search.vector_search import VectorSearch
from leafkit.types import Float32, Int64
from leafkit.vectors.cosine import check_dim, unit_prefix

TRAINING_ROWS = 262_144
LOSS_ROWS = 1_024
# Storage with at most this median loss of cosine needs no rescoring vectors by default: SQ8 loses 4e-5, SQ6 6e-4.
LOSSLESS = 2e-4

log = logging.getLogger("leafkit")


@dataclass(frozen=True, slots=True)
class FilledIndex:
    """An index that holds all documents.

    ``rescore`` is the precision of the rescoring vectors that the index needs, or ``none``. ``loss`` is the median of
    1 - cosine between a stored vector and the original.
    """

    index: FaissIndex
    rescore: str
    loss: float


def fill_index(
    vectors: Float32,
    plan: Plan,
    *,
    rescore: str | None,
    seed: int = 0,
    threads: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> FilledIndex:
    """Train an index of ``plan`` and fill it with unit ``vectors`` (rows, dim), which may be a memory map.

    rescore: the precision of the rescoring vectors. None chooses int8 for a binary index, whose point is size (sign
        bits in memory, int8 on disk), float16 for an index that loses more than 2e-4 of cosine, and none for others.
    seed: draws the training sample of at most 262,144 rows.
    advance: called with the number of rows after each block.

    Raises `OptionError` if there are too few rows for FAISS to train the plan.
    """
    check_rescore(rescore)
    with faiss_threads(threads):
        index = _trained(vectors, plan, seed)
        _add(index, vectors, advance)
        return _filled(index, vectors, rescore, seed)


def write_filled(
    path: Path,
    vectors: Float32,
    plan: Plan,
    *,
    spool: Path,
    rescore: str | None,
    seed: int = 0,
    threads: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> FilledIndex:
    """Write an index of ``plan`` that holds ``vectors`` to ``path``; see `fill_index` for the options and errors.

    Inverted lists of more rows than one run are filled on disk, where ``spool`` is a temporary file; the returned index
    then holds a sample of the rows. Other indexes are filled in memory.
    """
    with faiss_threads(threads):
        index = _trained(vectors, plan, seed)
        if len(vectors) > RUN_ROWS and can_fill_on_disk(index):
            fill_on_disk(index, vectors, path, spool, advance=advance)
            # A few rows stand for all: the code of a row depends on what was trained alone.
            vectors = sample_rows(vectors, LOSS_ROWS, seed)
            index.add(vectors)
        else:
            _add(index, vectors, advance)
            index.write(path)
        return _filled(index, vectors, rescore, seed)


def search_in_memory(
    vectors: NDArray[Any],
    *,
    dim: int | None = None,
    precision: str = "float32",
    factory: str | None = None,
    rescore: str | None = None,
    oversample: int | None = None,
    threads: int | None = 1,
) -> VectorSearch:
    """Index ``vectors`` (rows, width) in memory, for a search that returns what an index package would.

    The options are those of `leafkit.build_index`, and ``oversample`` that of `VectorSearch`.
    """
    dim = check_dim(dim, vectors.shape[1])
    units = unit_prefix(vectors, dim, source="the documents")
    filled = fill_index(units, plan_index(len(units), precision, factory), rescore=rescore, threads=threads)
    rescoring_vectors = None if filled.rescore == "none" else encode(units, filled.rescore)
    return VectorSearch(filled.index, rescoring_vectors=rescoring_vectors, oversample=oversample, threads=threads)


def cosine_losses(stored: Float32, vectors: Float32) -> Float32:
    """Return 1 - cosine between each stored row and the original, (rows,).

    The cosine of a stored row with a query errs by at most sqrt(2 x loss).
    """
    lengths = numpy.linalg.norm(stored, axis=1) * numpy.linalg.norm(vectors, axis=1)
    return 1 - numpy.einsum("rd,rd->r", stored, vectors) / numpy.maximum(lengths, 1e-30)


def sample_rows(vectors: Float32, count: int, seed: int) -> Float32:
    """Copy at most ``count`` rows of ``vectors`` into memory, drawn with ``seed``, in their order."""
    rows = _draw_rows(len(vectors), count, seed)
    sample = numpy.empty((len(rows), vectors.shape[1]), dtype=vectors.dtype)
    done = 0
    for block in blocks_of(vectors, rows):
        sample[done : done + len(block)] = block
        done += len(block)
    return sample


def _trained(vectors: Float32, plan: Plan, seed: int) -> FaissIndex:
    index = FaissIndex.empty(plan, vectors.shape[1])
    if len(vectors) and not index.trained:
        index.train(sample_rows(vectors, TRAINING_ROWS, seed))
    return index


def _add(index: FaissIndex, vectors: Float32, advance: Callable[[int], object]) -> None:
    for block in blocks_of(vectors):
        index.add(block)
        advance(len(block))


def _filled(index: FaissIndex, vectors: Float32, rescore: str | None, seed: int) -> FilledIndex:
    precision, loss = _choose_rescoring(index, _draw_rows(len(vectors), LOSS_ROWS, seed), vectors, rescore)
    return FilledIndex(index, precision, loss)


def _choose_rescoring(index: FaissIndex, rows: Int64, vectors: Float32, rescore: str | None) -> tuple[str, float]:
    """Return the precision of the rescoring vectors, and the median loss of the index on the sample ``rows``."""
    sample = numpy.asarray(vectors[rows])
    loss = _median_loss(index.vectors(rows), sample) if index.can_reconstruct else 1.0
    if rescore == "none":
        if not index.can_reconstruct:
            raise OptionError(
                "rescore is 'none', but this type of index cannot return its vectors to score hits with. "
                "Use --rescore float16 or int8."
            )
        return "none", loss
    if rescore is None:
        return ("int8" if index.binary else "none" if loss < LOSSLESS else "float16"), loss
    if len(rows) and loss <= _median_loss(decode(encode(sample, rescore)), sample):
        log.info("no %s rescoring vectors are written: the vectors in the index are at least as exact", rescore)
        return "none", loss
    return rescore, loss


def _median_loss(stored: Float32, vectors: Float32) -> float:
    return float(numpy.median(cosine_losses(stored, vectors))) if len(stored) else 0.0


def _draw_rows(total: int, count: int, seed: int) -> Int64:
    if total <= count:
        return numpy.arange(total)
    return numpy.sort(numpy.random.default_rng(seed).choice(total, count, replace=False))
