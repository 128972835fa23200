"""``python -m eval.ladder INDEX``: microseconds a query of each student in an index, and of the teacher.

The students run as `Searcher` runs them, the teacher as sentence-transformers runs it, all on one thread and in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eval.arguments import positive
from eval.bench.machine import describe_machine, load
from eval.serve.compare import read_queries
from leafkit.command import exit_on_error
from leafkit.errors import OptionError
from leafkit.evaluation.compare.report import markdown_table
from leafkit.search.searcher import Searcher

TEACHER = "teacher"
WARM = 20


def measure(index: Path, teacher: str | None, queries: Sequence[str], *, rounds: int, k: int) -> list[dict[str, Any]]:
    """Return a row for each effort of ``index`` and for ``teacher``: microseconds to encode a query and to search.

    A figure is the median over queries, of which the least over rounds counts: the others had to share the processor.
    """
    searcher = Searcher.open(index, threads=1)
    steps: dict[str, tuple[Callable[[str], Any], Callable[[str], Any]]] = {}
    for effort in searcher.efforts:
        encoder = searcher.encoder_of(effort)
        steps[effort] = (
            lambda text, encoder=encoder: encoder.encode([text], "query"),
            lambda text, effort=effort: searcher.search(text, k, effort=effort),
        )
    if teacher is not None:
        encode = _sentence_transformers(teacher, searcher.space.query_prompt)
        steps[TEACHER] = (encode, lambda text: searcher.search(encode(text), k))
    if not steps or not queries:
        what = "no query is given" if steps else f"{index} has no student inside, and no teacher is given"
        raise OptionError(f"{what}, so there is nothing to measure. Name an index with students, and some queries.")
    best: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, both in steps.items():
            found = [_median(step, queries) for step in both]
            best[name] = [min(pair) for pair in zip(found, best.get(name, found), strict=True)]
    students = {rung.effort: rung.student for rung in searcher.rungs}
    return [
        {
            "effort": name,
            "encoder": students.get(name, teacher),
            "encode, us": round(encode),
            "search, us": round(search),
        }
        for name, (encode, search) in best.items()
    ]


def _median(step: Callable[[str], Any], queries: Sequence[str]) -> float:
    for text in queries[:WARM]:
        step(text)
    taken = []
    for text in queries:
        started = time.perf_counter()
        step(text)
        taken.append(time.perf_counter() - started)
    return 1e6 * statistics.median(taken)


def _sentence_transformers(model: str, prompt: str) -> Callable[[str], Any]:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    opened = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": torch.float32})
    return lambda text: opened.encode(text, prompt=prompt, show_progress_bar=False)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    cells = [[*rows[0]], *([str(value) for value in row.values()] for row in rows)]
    return markdown_table(cells, ["---"] * len(rows[0]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of leafkit becomes one message and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m eval.ladder", description=__doc__)
    parser.add_argument("index", type=Path, help="an index folder with one or several students inside")
    parser.add_argument("--teacher", help="folder or hub id that sentence-transformers opens  [default: no teacher]")
    parser.add_argument("--queries", type=Path, help="file with one query a line  [default: the quickstart's]")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds; the best one counts")
    parser.add_argument("-k", type=positive, default=10, help="hits per query")
    parser.add_argument("--json", action="store_true", help="print JSON with the machine")
    options = parser.parse_args(arguments)
    with exit_on_error():
        before = load()
        queries = read_queries(options.queries)
        rows = measure(options.index, options.teacher, queries, rounds=options.rounds, k=options.k)
        report = {"rows": rows, "queries": len(queries), "load_before": before, "load_after": load()}
        report["machine"] = describe_machine()
    sys.stdout.write((json.dumps(report, indent=1) if options.json else table(rows)) + "\n")


if __name__ == "__main__":
    main()
