"""A long load on ``leafkit serve`` while its index is updated: no request may fail, and memory has to stay flat."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eval.serve.apps import OURS, resident_megabytes, serving
from eval.serve.load import ask_closed, ask_open, bodies
from leafkit.index.update import update_index
from leafkit.search.searcher import Searcher

# Memory is compared after this share of the time: by then every worker has run and the allocator is warm.
WARM = 0.2
# How much memory may grow after that.
GROWTH = 1.05
CAPACITY_SECONDS, CAPACITY_CLIENTS = 5.0, 8
CONNECTIONS = 64


def soak(
    index: Path, queries: Sequence[str], *, seconds: float, share: float, update_every: float, k: int
) -> dict[str, Any]:
    """Load a server of a copy of ``index`` with ``share`` of its capacity for ``seconds`` and return what happened.

    update_every: seconds between two removals of a document, after each of which the server reopens the index; 0 for
        none. ``passed`` is true if every request had its answer and memory grew by at most 5 % after the first fifth.
    """
    texts = bodies(queries, k)
    with tempfile.TemporaryDirectory(prefix="leafkit-soak-") as work:
        copy = shutil.copytree(index, Path(work) / "soak.index")
        with serving(OURS, copy) as (port, process):
            ask_closed(port, texts, clients=2, seconds=1)
            capacity = ask_closed(port, texts, clients=CAPACITY_CLIENTS, seconds=CAPACITY_SECONDS).rate
            memory: list[float] = []
            with _every(seconds / 50, lambda: memory.append(resident_megabytes(process))), _updates(copy, update_every):
                found = ask_open(port, texts, rate=share * capacity, clients=CONNECTIONS, seconds=seconds)
    warm = memory[int(WARM * len(memory)) :] or [0.0]
    half = len(warm) // 2 or 1
    return {
        "capacity, requests/s": round(capacity, 1),
        "seconds": round(found.seconds, 1),
        "requests": sum(found.statuses.values()),
        "not 200": {str(status): count for status, count in found.statuses.items() if status != 200},
        "p50 ms": round(found.percentile(50), 2),
        "p99 ms": round(found.percentile(99), 2),
        "RSS MB, first and last": [round(warm[0]), round(warm[-1])],
        "RSS MB, most in each half": [round(max(warm[:half])), round(max(warm[half:] or warm))],
        "passed": not found.failures and max(warm[half:] or warm) <= GROWTH * max(warm[:half]),
    }


@contextmanager
def _updates(index: Path, seconds: float) -> Iterator[None]:
    """Remove one document after the other from ``index`` inside the block."""
    if not seconds:
        yield
        return
    searcher = Searcher.open(index)
    ids = iter(searcher.search("any", len(searcher)).ids[1:])
    with _every(seconds, lambda: update_index(index, remove=[next(ids)])):
        yield


@contextmanager
def _every(seconds: float, do: Any) -> Iterator[None]:
    """Call ``do`` in a thread every ``seconds`` inside the block; its first error ends the calls and is raised."""
    over, errors = threading.Event(), []

    def work() -> None:
        while not over.wait(seconds):
            try:
                do()
            except StopIteration:  # no document is left
                return
            except Exception as error:  # it is raised below
                errors.append(error)
                return

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]
