"""One query on one thread: tokenise, encode, search all documents, return the hits with their payload."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from eval.bench.figure import Figure, Spread
from eval.bench.side import Result, Side, take_turns
from eval.bench.workload import Workload, read_documents, read_queries

LEAST_RATIO = 4.0
K = 10
WARM = 20


def measure(workload: Workload, *, rounds: int, queries: int, parameters: Sequence[int]) -> list[Figure]:
    """Measure leafkit's `Searcher` with each student against sentence-transformers with the student and the teacher."""
    common = {"queries": str(workload.queries_file), "count": queries}
    rival = {**common, "documents": str(workload.documents_file), "vectors": str(workload.vectors_file)}
    figures = []
    with ExitStack() as stack:

        def side(function: str, arguments: dict[str, Any]) -> Side:
            return stack.enter_context(Side(f"{__name__}:{function}", arguments, threads=1))

        sides = {"teacher": side("theirs", {**rival, "model": workload.model})}
        for place, student in enumerate(workload.students):
            sides[f"ours {student}"] = side("ours", {**common, "index": str(workload.index(place))})
            sides[f"theirs {student}"] = side("theirs", {**rival, "model": str(workload.student(place))})
        results = take_turns(sides, rounds)
        facts = {name: side.facts for name, side in sides.items()}
    for student, size in zip(workload.students, parameters, strict=True):
        mine, same = f"ours {student}", f"theirs {student}"
        about = {
            "parameters": size,
            "documents": workload.documents,
            "queries": queries,
            "ours in": facts[mine]["precision"],
            "hits shared with theirs": shared(facts[mine]["hits"], facts[same]["hits"]),
            "95th percentile of ours": statistics.median(result["slow"] for result in results[mine]),
            "threads": 1,
        }
        figures.append(_figure(f"query, {student}", results[mine], results[same], about))
        figures.append(_figure(f"query, {student} : the teacher", results[mine], results["teacher"], {}))
    return figures


def shared(ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> float:
    """Return the share of hits that both sides found, mean over queries."""
    return statistics.mean(len({*a} & {*b}) / max(1, len(b)) for a, b in zip(ours, theirs, strict=True))


def ours(index: str, queries: str, count: int) -> Iterator[Result]:
    """The side of leafkit: an open `Searcher`."""
    from leafkit.search.searcher import Searcher

    searcher = Searcher.open(index, threads=1)

    def ask(text: str) -> list[tuple[str, float, Any]]:
        hits = searcher.search(text, K)
        return list(zip(hits.ids, hits.scores, hits.payload, strict=True))

    encoder: Any = searcher.encoder  # a QueryEncoder, since the index contains the student
    yield from _rounds(ask, read_queries(queries, count), {"precision": encoder.precision})


def theirs(model: str, vectors: str, documents: str, queries: str, count: int) -> Iterator[Result]:
    """The side of sentence-transformers, with an exhaustive FAISS index of the same vectors."""
    import faiss
    import numpy
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    encoder = SentenceTransformer(model, device="cpu")
    held = numpy.load(vectors)
    index = faiss.IndexFlatIP(held.shape[1])
    index.add(held)
    rows = read_documents(documents)

    def ask(text: str) -> list[tuple[str, float, Any]]:
        scores, found = index.search(encoder.encode_query(text)[None], K)
        return [(rows[row]["_id"], float(score), rows[row]) for row, score in zip(found[0], scores[0], strict=True)]

    yield from _rounds(ask, read_queries(queries, count), {"precision": "float32"})


def _rounds(ask: Callable[[str], list[tuple[str, float, Any]]], texts: list[str], facts: Result) -> Iterator[Result]:
    """Yield facts with the hits of every text, then for each round the median and 95th percentile in milliseconds."""
    for text in texts[:WARM]:
        ask(text)
    yield {**facts, "hits": [[name for name, *_ in ask(text)] for text in texts]}
    while True:
        taken = []
        for text in texts:
            started = time.perf_counter()
            ask(text)
            taken.append(1000 * (time.perf_counter() - started))
        yield {"median": statistics.median(taken), "slow": sorted(taken)[int(0.95 * len(taken))]}


def _figure(name: str, ours: list[Result], theirs: list[Result], facts: dict[str, Any]) -> Figure:
    return Figure(
        name=name,
        unit="ms",
        ours=Spread(tuple(result["median"] for result in ours)),
        theirs=Spread(tuple(result["median"] for result in theirs)),
        least_ratio=LEAST_RATIO,
        facts=facts,
    )
