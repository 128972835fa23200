"""``python -m eval.filtered_search``: measure recall and time of filtered searches, from few allowed rows to most.

Two filters of each share: rows drawn at random, and the rows nearest to a row drawn for each query, as a category that
has to do with the query. The truth is an exact search over the allowed rows.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from eval.arguments import positive
from leafkit.command import command_line, exit_on_error
from leafkit.evaluation.compare.report import markdown_table
from leafkit.evaluation.provenance import commit, packages
from leafkit.files.arrays import read_array
from leafkit.files.atomic import write_json
from leafkit.files.json_file import explain_invalid
from leafkit.search.faiss_index import FaissIndex
from leafkit.search.plan import plan_index
from leafkit.search.vector_search import VectorSearch
from leafkit.types import Float32, Int64
from leafkit.vectors.cosine import unit_prefix

SHARES = (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9)
HITS = 10


def measure(vectors: Float32, factories: Sequence[str], *, queries: int, seed: int) -> list[dict[str, Any]]:
    """Return recall@10, milliseconds a query and the way of the search, for each factory, kind of filter and share.

    ``vectors`` (rows, dim) are of unit length; the last ``queries`` of a random order are the queries.
    """
    order = numpy.random.default_rng(seed).permutation(len(vectors))
    documents, asked = vectors[order[:-queries]], vectors[order[-queries:]]
    found = []
    for factory in factories:
        index = FaissIndex.empty(plan_index(len(documents), "float32", factory), documents.shape[1])
        index.train(documents)
        index.add(documents)
        search = VectorSearch(index)
        for kind, share in ((kind, share) for kind in ("random", "related") for share in SHARES):
            filters = _filters(documents, asked, kind, share, seed)
            found.append({"factory": factory, "filter": kind, "share": share} | _row(search, asked, filters))
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return the measurements as a table in Markdown."""
    rows = [["index", "filter", "allowed", "way", "recall@10", "worst query", "ms a query"]]
    rows += [
        [
            *(row["factory"], row["filter"], f"{row['share']:.1%}", row["way"]),
            *(f"{row['recall']:.4f}", f"{row['worst']:.1f}", f"{row['milliseconds']:.2f}"),
        ]
        for row in found
    ]
    return markdown_table(rows, ["---", "---", "---:", "---", "---:", "---:", "---:"])


def _filters(documents: Float32, asked: Float32, kind: str, share: float, seed: int) -> list[Int64]:
    """Return the allowed rows of each query."""
    random, count = numpy.random.default_rng(seed + 1), round(share * len(documents))
    if kind == "random":
        return [numpy.sort(random.choice(len(documents), count, replace=False)) for _ in asked]
    # The middle between the query and a random row: the filter covers a part of what the query asks for.
    centres = asked + documents[random.integers(len(documents), size=len(asked))]
    return [numpy.sort(numpy.argpartition(-(documents @ centre), count - 1)[:count]) for centre in centres]


def _row(search: VectorSearch, asked: Float32, filters: Sequence[Int64]) -> dict[str, Any]:
    recalls, seconds = [], 0.0
    for query, allowed in zip(asked, filters, strict=True):
        start = time.perf_counter()
        rows = search.search(query[None], HITS, allowed).rows[0]
        seconds += time.perf_counter() - start
        scores = search.vectors(allowed) @ query
        truth = allowed[numpy.argsort(-scores, kind="stable")[:HITS]]
        recalls.append(len({*rows.tolist()} & {*truth.tolist()}) / len(truth))
    return {
        "recall": round(float(numpy.mean(recalls)), 5),
        "worst": min(recalls),
        "milliseconds": round(1000 * seconds / len(asked), 3),
        "way": "all allowed" if search.should_scan(filters[0]) else "index",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of leafkit becomes one message and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m eval.filtered_search", description=__doc__)
    add = parser.add_argument
    add("--vectors", type=Path, required=True, help="a .npy file of vectors (rows, dim): documents and queries")
    add("--factories", nargs="+", default=["HNSW32", "IVF1024"], help="FAISS factory strings")
    add("--rows", type=positive, help="use only this many rows of the file, drawn at random")
    add("--queries", type=positive, default=100, help="rows that are queries instead of documents")
    add("--seed", type=int, default=0, help="seed of the queries and the filters")
    add("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args(arguments)
    with exit_on_error():
        with explain_invalid(options.vectors, expected="an array of vectors", advice="Give a .npy file."):
            vectors = read_array(options.vectors)
            vectors = unit_prefix(vectors, vectors.shape[1], source=str(options.vectors))
        rows = numpy.random.default_rng(options.seed).permutation(len(vectors))[: options.rows]
        found = measure(vectors[rows], options.factories, queries=options.queries, seed=options.seed)
        origin = {
            "vectors": {
                "sha256": hashlib.sha256(options.vectors.read_bytes()).hexdigest(),
                "rows": len(rows),
                "dim": vectors.shape[1],
            },
            **{"queries": options.queries, "hits": HITS, "seed": options.seed, "command": command_line()},
            **{"commit": commit(), "packages": packages()},
        }
        write_json(options.out, {"measured": found} | origin)
    sys.stdout.write(table(found) + "\n")


if __name__ == "__main__":
    main()
