"""From process start to printed hits: ``leafkit search`` against a script on sentence-transformers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from eval.bench.child import environment
from eval.bench.figure import Figure, Promise, Spread
from eval.bench.material import Material, read_queries
from leafkit.errors import LeafkitError

LEAST_RATIO, MOST_SECONDS = 6.0, 1.0
# The short process runs more often: its time is the more easily disturbed.
OURS_PER_ROUND = 3


def measure(material: Material, *, rounds: int) -> list[Figure]:
    """Seconds of whole processes, files warm in the disk cache, both with the first student."""
    text = read_queries(material.queries_file, 1)[0]
    ours = [*leafkit(), "search", str(material.index(0)), text]
    script = str(Path(__file__).with_name("rival_search.py"))
    places = (material.student(0), material.vectors_file, material.documents_file)
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
            promises=(Promise("seconds", mine.median, MOST_SECONDS, at_most=True),),
            facts={
                "student": material.students[0],
                "documents": material.documents,
                "best of ours": min(taken["ours"]),
                "best of theirs": min(taken["theirs"]),
                "files": "hashes checked by ours (its default), warm disk cache",
            },
        )
    ]


def leafkit() -> list[str]:
    """How a user calls the command line: the installed script, else the module."""
    script = Path(sys.executable).with_name("leafkit")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "leafkit.cli"]


def seconds(command: Sequence[str]) -> float:
    """The wall time of ``command`` until it has ended; raises `LeafkitError` unless it printed and succeeded."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, env=environment())
    taken = time.perf_counter() - started
    if done.returncode or not done.stdout.strip():
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-8:]
        raise LeafkitError("\n".join([f"{command[0]} ended with exit code {done.returncode} and no hits:", *said]))
    return taken
