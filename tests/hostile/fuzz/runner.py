"""Run cases in child processes and count what happened: a case that kills or stops its child is found and named."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# (target, seed, first case, case after the last)
Job = tuple[str, int, int, int]

HARMLESS = ("refused", "right", "other")
WALL_SECONDS = 60.0  # per case, on a machine that may be busy; the child itself counts processor time
START_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that ended in none of the harmless ways, and how to run that case again."""

    target: str
    seed: int
    case: int
    outcome: str
    detail: str

    def __str__(self) -> str:
        again = f"python -m tests.hostile.fuzz {self.target} --seed {self.seed} --case {self.case}"
        return f"{self.outcome:10}{self.target} case {self.case}: {self.detail}\n{'':10}{again}"


@dataclass(slots=True)
class Tally:
    """How many cases of each target ended in which way, and those that failed."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        rows = [f"{name:28}{counts.total():>9}  {_words(counts)}" for name, counts in self.counts.items()]
        total: Counter[str] = sum(self.counts.values(), Counter())
        return "\n".join([*rows, f"{'all':28}{total.total():>9}  {_words(total)}", f"failures: {len(self.failures)}"])


def run(jobs: list[Job]) -> Tally:
    """Run all ``jobs`` and return the counts."""
    tally = Tally({name: Counter() for name, *_ in jobs})
    seeds = {name: seed for name, seed, *_ in jobs}
    for name, case, outcome, detail in _reports(jobs):
        tally.counts[name][outcome] += 1
        if outcome not in HARMLESS:
            tally.failures.append(Failure(name, seeds[name], case, outcome, detail))
    return tally


def _reports(jobs: list[Job]) -> Iterator[tuple[str, int, str, str]]:
    """Yield the outcome of each case, starting a new child behind a case that ended or stopped the last one."""
    while jobs:
        begun: tuple[str, int] | None = None
        with _child(jobs) as (process, lines):
            for line in lines:
                name, case, *outcome = line
                begun = None if outcome else (name, case)
                jobs = _after(jobs, name, case) if outcome else jobs
                if outcome:
                    yield name, case, outcome[0], outcome[1]
            if begun is None:
                if jobs:
                    raise RuntimeError(f"the child ended without a case: exit status {process.wait()}, {jobs[0]}")
                return
            stopped = process.poll() is None and not _ends(process)
            process.kill()
            detail = f"no report for {WALL_SECONDS:.0f} s" if stopped else _status(process)
            yield begun[0], begun[1], "hang" if stopped else "crash", detail
            jobs = _after(jobs, *begun)


@contextmanager
def _child(jobs: list[Job]) -> Iterator[tuple[subprocess.Popen[bytes], Iterator[list[Any]]]]:
    """Start a child that works on ``jobs``; yields the process and its reports, until it ends or falls silent."""
    read, write = os.pipe()
    command = [sys.executable, "-m", "tests.hostile.fuzz.worker", str(write), json.dumps(jobs)]
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    # Libraries that print do so on stderr.
    process = subprocess.Popen(command, pass_fds=[write], cwd=root, env=environment, stdout=subprocess.DEVNULL)
    os.close(write)
    try:
        yield process, _lines(read)
    finally:
        process.kill()
        process.wait()
        os.close(read)


def _lines(descriptor: int) -> Iterator[list[Any]]:
    rest, limit = b"", START_SECONDS
    while select.select([descriptor], [], [], limit)[0]:
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return
        *whole, rest = (rest + piece).split(b"\n")
        yield from map(json.loads, whole)
        limit = WALL_SECONDS


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether ``process``, which closed its reports or fell silent, is ending by itself."""
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return False
    return True


def _after(jobs: list[Job], name: str, case: int) -> list[Job]:
    """Return what is left of ``jobs`` after ``case`` of the first one."""
    (_, seed, _, last), *others = jobs
    return [(name, seed, case + 1, last), *others] if case + 1 < last else others


def _status(process: subprocess.Popen[bytes]) -> str:
    status = process.wait()
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
