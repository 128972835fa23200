"""Overwrites, updates and readers of one index at the same time, with writers that are killed now and then."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import numpy

from leafkit.errors import OutputError
from tests.fixtures.packages import SPACE, index_vectors, update_vectors
from tests.hostile.kill.chains import finish, fork
from tests.hostile.kill.jobs import files_of, ids_of, rows_of

ROWS = 60


def build(index: Path, number: int) -> None:
    ids = [f"b{number} {row}" for row in range(ROWS)]
    index_vectors(ids, rows_of(number, ROWS), SPACE, index, overwrite=True)


def update(index: Path, writer: int, number: int) -> None:
    vectors = numpy.ones((1, 64), dtype=numpy.float32)
    update_vectors(index, ids=[f"u{writer} {number}"], vectors=vectors, replace=True, compact=number % 2 == 0)


def check_ids(ids: set[str]) -> None:
    """The documents of one build, whole, and those of updates."""
    builds = Counter(name.split()[0] for name in ids if name.startswith("b"))
    assert len(builds) == 1, f"a mixture of builds: {builds}"
    assert set(builds.values()) == {ROWS}, f"a part of a build: {builds}"


def repeat(work, log: Path, name: str) -> None:
    """Call ``work`` with 0, 1, ... until killed, and count calls that were done or refused with a message."""
    number = 0
    while True:
        try:
            work(number)
            kind = "done"
        except OutputError:
            kind = "refused"
        with open(log / f"{name}-{kind}", "ab") as file:
            file.write(b".")
        number += 1


def stress(
    folder: Path, *, seconds: float, seed: int, kills: bool, updaters: int = 2, readers: int = 1
) -> Counter[str]:
    """Run one builder, ``updaters`` and ``readers`` for ``seconds``; return the calls and kills.

    Raises AssertionError if a reader, an update or a build fails otherwise than with an `OutputError`, or if the index
    is damaged or mixed in the end, or if a later update leaves anything.
    """
    draw, index, log = random.Random(seed), folder / "docs.index", folder / "log"
    log.mkdir(parents=True)
    finish(lambda: build(index, 0))
    works = {"build": lambda number: build(index, number)}
    for writer in range(3):
        works[f"update{writer}"] = lambda number, writer=writer: update(index, writer, number)
    works["read"] = lambda number: check_ids(ids_of(index))
    start = lambda name: fork(lambda: repeat(works[name], log, name.rstrip("0123456789")))  # noqa: E731
    children = {name: start(name) for name in works}
    deadline, counts = time.monotonic() + seconds, Counter[str]()
    try:
        while time.monotonic() < deadline:
            time.sleep(draw.uniform(0, 0.3))
            for name, child in children.items():
                if os.waitpid(child, os.WNOHANG)[0]:
                    children.pop(name)
                    raise AssertionError((Path(os.environ["KILL_ERRORS"]) / str(child)).read_text())
            if kills:
                name = draw.choice([name for name in children if not name.startswith("read")])
                os.kill(children[name], signal.SIGKILL)
                os.waitpid(children[name], 0)
                counts["kills"] += 1
                children[name] = start(name)
    finally:
        for child in children.values():
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    for path in log.iterdir():
        counts[path.name] = path.stat().st_size
    check_ids(ids_of(index))
    finish(lambda: update(index, 9, 0))
    files_of(index)
    finish(lambda: build(index, 1))
    files_of(index)
    assert {path.name for path in folder.iterdir()} == {"docs.index", "log"}
    return counts
