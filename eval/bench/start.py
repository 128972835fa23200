"""Seconds from process start to printed hits: ``leafkit search`` against a script on sentence-transformers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from eval.bench.figure import Figure, Requirement, Spread
from eval.bench.side import environment
from eval.bench.workload import Workload, read_queries
from leafkit.errors import LeafkitError

LEAST_RATIO, MOST_SECONDS = 6.0, 1.0
# The short process runs more often because its time is more easily disturbed.
OURS_PER_ROUND = 3


def measure(workload: Workload, *, rounds: int) -> list[Figure]:
    """Measure whole processes with the first student, files warm in the disk cache."""
    text = read_queries(workload.queries_file, 1)[0]
    ours = [*leafkit(), "search", str(workload.index(0)), text]
    script = str(Path(__file__).with_name("rival_search.py"))
    places = (workload.student(0), workload.vectors_file, workload.documents_file)
    theirs = [sys.executable, script, *map(str, places), text]
    for command in (ours, theirs):
        seconds(command)
    taken: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        taken["ours"] += [seconds(ours) for _ in range(OURS_PER_ROUND)]
        taken["theirs"].append(seconds(theirs))
    mine = Spread(tuple(taken["ours"]))
    return [
        Figure(
            name="search from process start",
            unit="s",
            ours=mine,
            theirs=Spread(tuple(taken["theirs"])),
            least_ratio=LEAST_RATIO,
            requirements=(Requirement("seconds", mine.median, MOST_SECONDS, at_most=True),),
            facts={
                "student": workload.students[0],
                "documents": workload.documents,
                "best of ours": min(taken["ours"]),
                "best of theirs": min(taken["theirs"]),
                "files": "hashes checked by ours (its default), warm disk cache",
            },
        )
    ]


def leafkit() -> list[str]:
    """Return the command that a user types: the installed script, or the module if there is none."""
    script = Path(sys.executable).with_name("leafkit")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "leafkit.cli"]


def seconds(command: Sequence[str]) -> float:
    """Return the wall time of ``command``. Raise `LeafkitError` if it fails or prints nothing."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, env=environment())
    taken = time.perf_counter() - started
    if done.returncode or not done.stdout.strip():
        last_lines = done.stderr.decode("utf-8", "replace").strip().splitlines()[-8:]
        raise LeafkitError(
            "\n".join([f"{command[0]} ended with exit code {done.returncode} and no hits:", *last_lines])
        )
    return taken
