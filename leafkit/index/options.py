"""Options for building and updating an index."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Annotated, ClassVar

from leafkit.options import Option, Options
from leafkit.search.plan import PRECISIONS, RESCORES
from leafkit.vectors.rotation import KINDS


@dataclass(frozen=True, kw_only=True)
class ThreadOptions(Options):
    """How many threads build an index."""

    panel: ClassVar[str] = "The index"

    threads: Annotated[int | None, Option("Threads that FAISS uses to build.", none="all cores", at_least=1)] = None


@dataclass(frozen=True, kw_only=True)
class BuildOptions(ThreadOptions):
    """How an index stores its vectors."""

    factory: Annotated[
        str | None,
        Option(
            "A FAISS factory string, e.g. HNSW32 or IVF256,PQ64x4fs,Refine(SQ8).",
            none="exact up to 50,000 documents (a million if binary), HNSW32 up to a million, inverted lists above",
        ),
    ] = None
    dim: Annotated[int | None, Option("Keep the first DIM components of each vector and renormalise.", none="all")] = (
        None
    )
    precision: Annotated[
        str,
        Option(
            "Precision of the vectors in memory: float32, float16, int8 or int4 (ranges fitted to the documents), or "
            "binary (sign bits).",
            choices=PRECISIONS,
        ),
    ] = "float32"
    rescore: Annotated[
        str | None,
        Option(
            "Vectors kept on disk to rescore hits exactly: none, int8, float16 or float32.",
            none="int8 for binary, float16 for other storage that loses more than 2e-4 of cosine, else none",
            choices=RESCORES,
        ),
    ] = None
    fold: Annotated[
        str | PathLike[str] | None,
        Option(
            "Fold the index for this student; no other student can search it. Each document keeps only the student's "
            "width + 1 numbers (+ 2 for a token table), with the same cosines; with dim, the most important of them.",
            none="no folding",
        ),
    ] = None
    rotate: Annotated[
        str | None,
        Option(
            "Rotate the space first: pca (before dim), itq (before binary precision) or random.",
            none="no rotation",
            choices=tuple(KINDS),
        ),
    ] = None
    lexical: Annotated[
        bool,
        Option(
            "Also store the words of the documents, so that a search can fuse BM25 with the vectors (hybrid search).",
            flags=("--lexical/--no-lexical",),
        ),
    ] = True
    seed: Annotated[int, Option("Seed of the samples that rotations and FAISS are fitted to.", at_least=0)] = 0


@dataclass(frozen=True, kw_only=True)
class UpdateOptions(ThreadOptions):
    """How an index is updated."""

    replace: Annotated[
        bool,
        Option(
            "Let an added document replace an old one with the same id; the default is an error.", flags=("--replace",)
        ),
    ] = False
    compact: Annotated[
        bool | None,
        Option(
            "Rewrite the index without its removed documents, whose texts stay on disk until then.",
            none="when more than a fifth of the rows are removed, except in a graph of over 100,000",
            flags=("--compact/--no-compact",),
        ),
    ] = None
    lexical: Annotated[
        bool | None,
        Option(
            "Store the words of all documents for hybrid search, or drop them. An index of an older leafkit also gets "
            "the columns that filters need.",
            none="words stay as they are",
            flags=("--lexical/--no-lexical",),
        ),
    ] = None
