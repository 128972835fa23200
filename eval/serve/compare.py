"""Requests per second and latencies of ``leafkit serve`` and of rivals, with 1, 8 and 64 clients on the loopback."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from eval.serve.apps import OURS, missing, resident_megabytes, serving
from eval.serve.load import Outcome, ask_closed, bodies
from leafkit.evaluation.compare.report import markdown_table

CLIENTS = (1, 8, 64)
WARM_SECONDS = 1.0


def compare(
    index: Path,
    queries: Sequence[str],
    *,
    kinds: Sequence[str],
    model: Path | None,
    clients: Sequence[int],
    seconds: float,
    rounds: int,
    k: int,
) -> dict[str, Any]:
    """Return a row per app and number of clients; the apps take turns in each round, and a row is its best round."""
    texts = bodies(queries, k)
    left_out = {kind: why for kind in kinds if kind != OURS and (why := missing(kind, model))}
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for number in range(rounds):
        for kind in (kind for kind in kinds if kind not in left_out):
            with serving(kind, index, model=model) as (port, process):
                ask_closed(port, texts, clients=2, seconds=WARM_SECONDS)
                for count in clients:
                    found = ask_closed(port, texts, clients=count, seconds=seconds, seed=number)
                    row = _row(kind, count, found, resident_megabytes(process))
                    best[kind, count] = max(row, best.get((kind, count), row), key=lambda one: one["requests/s"])
    return {"rows": list(best.values()), "left out": left_out}


def _row(kind: str, clients: int, found: Outcome, megabytes: float) -> dict[str, Any]:
    return {
        "app": kind,
        "clients": clients,
        "requests/s": round(found.rate, 1),
        "p50 ms": round(found.percentile(50), 2),
        "p99 ms": round(found.percentile(99), 2),
        "not 200": found.failures,
        "RSS MB": round(megabytes),
    }


def read_queries(file: Path | None) -> list[str]:
    """Return the lines of ``file``, or the questions of the quickstart."""
    if file is not None:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    packed = (resources.files("leafkit.models") / "quickstart" / "queries.jsonl.gz").read_bytes()
    return [json.loads(line)["text"] for line in gzip.decompress(packed).decode().splitlines()]


def table(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    rows = report["rows"]
    names = list(rows[0])
    cells = [names, *([str(row[name]) for name in names] for row in rows)]
    lines = [markdown_table(cells, ["---", *["---:"] * (len(names) - 1)])]
    return "\n".join([*lines, *(f"{kind} is left out: {why}." for kind, why in report["left out"].items())])
