"""What a search host does with a large index, in a process of its own: open it and search it on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy

from eval.bench.machine import peak_memory
from eval.bench.side import Result
from leafkit.search.faiss_index import Depth, FaissIndex
from leafkit.search.plan import plan_index
from leafkit.search.searcher import Searcher
from leafkit.texts.read import read_texts
from leafkit.types import Float32
from leafkit.vectors.corpus_survey import CorpusSurvey
from leafkit.vectors.vectors_file import open_vectors_file

HITS = 10
DEPTHS = (256, 512)  # inverted lists to visit, beside the default
TIE = 1e-6  # cosines that differ by less are equally near


def search(index: str, queries: str, exact: str) -> Iterator[Result]:
    """Yield the seconds to open ``index``, then milliseconds a query and recall@10 against the scores in ``exact``."""
    checked = _seconds(lambda: Searcher.open(index))
    start = time.perf_counter()
    searcher = Searcher.open(index, verify=False)
    yield {"open_seconds": time.perf_counter() - start, "open_and_verify_seconds": checked}
    texts = Path(queries).read_text(encoding="utf-8").splitlines()
    vectors = searcher.encoder.encode(texts, "query")
    first, best = _searches(searcher, vectors)
    start = time.process_time()
    warm, _ = _searches(searcher, vectors)
    cpu = time.process_time() - start
    whole = [_seconds(lambda text=text: searcher.search(text, k=HITS)) for text in texts]
    truth = numpy.load(exact)[:, -1:] - TIE
    deeper = []
    for lists in DEPTHS:
        searcher = Searcher.open(index, verify=False, depth=Depth(lists=lists))
        seconds, found = _searches(searcher, vectors)
        row = {"lists": lists, "recall@10": float((found >= truth).mean())}
        deeper.append({**row, "ms": 1000 * float(numpy.median(seconds))})
    yield {
        "recall@10": float((best >= truth).mean()),
        "queries": len(texts),
        "first_ms": 1000 * float(numpy.median(first)),
        "ms": 1000 * float(numpy.median(warm)),
        "ms_99": 1000 * float(numpy.quantile(warm, 0.99)),
        "ms_with_text": 1000 * float(numpy.median(whole)),
        "cpu_ms": 1000 * cpu / len(texts),
        "depths": deeper,
        "peak_mb": peak_memory(),
    }


def exact_scores(shards: list[str], student: str, queries: str, out: str) -> Iterator[Result]:
    """Write the ten highest cosines of each query over the vectors in all ``shards``, by comparing with every one."""
    from leafkit.search.query_encoder import QueryEncoder

    yield {}
    texts = Path(queries).read_text(encoding="utf-8").splitlines()
    asked = QueryEncoder.open(student).encode(texts, "query")
    best = numpy.full((len(asked), HITS), -1, dtype=numpy.float32)
    start, rows = time.process_time(), 0
    for batch in (batch for path in shards for batch in open_vectors_file(Path(path)).batches):
        documents = batch.vectors.astype(numpy.float32)
        documents /= numpy.linalg.norm(documents, axis=1, keepdims=True)
        both = numpy.concatenate([best, asked @ documents.T], axis=1)
        best = -numpy.partition(-both, HITS - 1, axis=1)[:, :HITS]
        rows += len(documents)
    numpy.save(out, -numpy.sort(-best, axis=1))
    yield {"rows": rows, "cpu_seconds": time.process_time() - start}


def parts(texts: str, shards: list[str], factory: str, sample: int, rows: int) -> Iterator[Result]:
    """Yield the processor seconds of three parts of the stages.

    Read all ``texts`` once, as each shard does; train ``factory`` on ``sample`` vectors of ``shards``; add ``rows``.
    """
    yield {}
    survey = _cpu_seconds(lambda: CorpusSurvey.of(read_texts(texts, role="document")))
    blocks: list[Float32] = []
    for batch in (batch for path in shards for batch in open_vectors_file(Path(path)).batches):
        blocks.append(batch.vectors.astype(numpy.float32))
        if sum(map(len, blocks)) >= max(sample, rows):
            break
    vectors = numpy.concatenate(blocks)
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    index = FaissIndex.empty(plan_index(len(vectors), "float32", factory), vectors.shape[1])
    train_seconds = _cpu_seconds(lambda: index.train(vectors[:sample]))
    add_seconds = _cpu_seconds(lambda: index.add(vectors[:rows]))
    yield {
        "survey_seconds": survey,
        "train_seconds": train_seconds,
        "trained_on": len(vectors[:sample]),
        "add_seconds": add_seconds,
        "added": len(vectors[:rows]),
    }


def _searches(searcher: Searcher, vectors: Float32) -> tuple[list[float], Float32]:
    """Return the seconds of each query, and the scores of its ten hits, (queries, 10)."""
    seconds, scores = [], []
    for vector in vectors:
        start = time.perf_counter()
        (hits,) = searcher.search(vector[None], k=HITS)
        seconds.append(time.perf_counter() - start)
        scores.append(hits.scores)
    return seconds, numpy.array(scores, dtype=numpy.float32)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
