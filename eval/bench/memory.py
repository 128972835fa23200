"""Peak resident memory of a search host that opens an index and answers queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.bench.figure import Figure, Requirement, Spread
from eval.bench.machine import peak_memory
from eval.bench.query import K
from eval.bench.query import theirs as rival
from eval.bench.side import Result, Side
from eval.bench.workload import Workload, read_queries

MOST = 250.0


def measure(workload: Workload, *, rounds: int, queries: int, parameters: Sequence[int]) -> list[Figure]:
    """Measure the megabytes of a new process in each round, with the first student."""
    common = {"queries": str(workload.queries_file), "count": queries}
    ours = {**common, "index": str(workload.index(0))}
    places = {"vectors": str(workload.vectors_file), "documents": str(workload.documents_file)}
    theirs = {**common, **places, "model": str(workload.student(0))}
    mine, other = [], []
    for _ in range(rounds):
        mine.append(_peak("ours", ours))
        other.append(_peak("theirs", theirs))
    spread = Spread(tuple(result["peak"] for result in mine))
    return [
        Figure(
            name="memory of a search host",
            unit="MB",
            ours=spread,
            theirs=Spread(tuple(result["peak"] for result in other)),
            requirements=(Requirement("MB", max(spread.values), MOST, at_most=True),),
            facts={
                "parameters": parameters[0],
                "documents": workload.documents,
                "queries": queries,
                "ours in": mine[0]["precision"],
                "after opening": mine[0]["opened"],
            },
        )
    ]


def ours(index: str, queries: str, count: int) -> Iterator[Result]:
    """The side of leafkit: open an index, then search it."""
    from leafkit.search.searcher import Searcher

    searcher = Searcher.open(index)
    encoder: Any = searcher.encoder  # a QueryEncoder, since the index contains the student
    yield {"opened": peak_memory(), "precision": encoder.precision}
    for text in read_queries(queries, count):
        searcher.search(text, K)
    yield {"peak": peak_memory()}


def theirs(model: str, vectors: str, documents: str, queries: str, count: int) -> Iterator[Result]:
    """The side of sentence-transformers with FAISS."""
    asked = rival(model, vectors, documents, queries, count)
    next(asked)
    yield {"precision": "float32"}
    yield {"peak": peak_memory()}


def _peak(function: str, arguments: Mapping[str, Any]) -> Result:
    with Side(f"{__name__}:{function}", arguments, threads=1) as side:
        return {**side.facts, **side.round()}
