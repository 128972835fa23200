"""Chains of kills: a job is killed at random moments and started again until it finishes.

The parent imports the libraries and computes nothing, so every run forks from it within milliseconds.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

QUIET = os.open(os.devnull, os.O_WRONLY)


class Job(Protocol):
    """Work on a folder that may be killed at any time, and what must hold afterwards."""

    def prepare(self, folder: Path) -> None:
        """Write what the job starts from. This is never killed."""

    def run(self, folder: Path, number: int) -> None:
        """Do the work of round ``number``, or go on with it after a kill."""

    def check(self, folder: Path, number: int) -> None:
        """Raise AssertionError unless the state is that before or after round ``number``."""

    def result(self, folder: Path) -> object:
        """Return what must be equal after kills and without kills, and raise if a leftover is in the folder."""


def fork(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked process and return its id; the exit code is 0 unless ``work`` raises."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(QUIET, 1)
        if not os.environ.get("KILL_VERBOSE"):
            os.dup2(QUIET, 2)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
        (Path(os.environ["KILL_ERRORS"]) / str(os.getpid())).write_text(traceback.format_exc())
    finally:
        os._exit(code)


def finish(work: Callable[[], object]) -> float:
    """Run ``work`` in a forked process to its end and return the seconds; raises AssertionError if it fails."""
    started = time.monotonic()
    child = fork(work)
    status = os.waitpid(child, 0)[1]
    if status:
        raise AssertionError((Path(os.environ["KILL_ERRORS"]) / str(child)).read_text())
    return time.monotonic() - started


def kill_after(child: int, seconds: float) -> bool:
    """Kill ``child`` after ``seconds``; return False if it had finished before, and raise if it had failed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))
    else:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    if status:
        raise AssertionError((Path(os.environ["KILL_ERRORS"]) / str(child)).read_text())
    return False


def chain(job: Job, folder: Path, *, rounds: int, kills: int, seed: int) -> Counter[str]:
    """Run ``rounds`` of ``job``, each killed at most ``kills`` times; return counts of runs and kills.

    Raises AssertionError for a wrong state after a kill, a failed run, a different result or a leftover.
    """
    draw, counts = random.Random(seed), Counter[str](chains=1)
    whole, killed = folder / "whole", folder / "killed"
    for place in (whole, killed):
        place.mkdir(parents=True)
        finish(lambda place=place: job.prepare(place))
    for number in range(rounds):
        seconds = finish(lambda number=number: job.run(whole, number))
        left = draw.randint(1, kills)
        while True:
            child = fork(lambda number=number: job.run(killed, number))
            stopped = kill_after(child, draw.uniform(0, 1.1 * seconds) if left > 0 else 600)
            counts["runs"] += 1
            if not stopped:
                break
            counts["kills"] += 1
            left -= 1
            job.check(killed, number)
        job.check(killed, number)
        if job.result(killed) != job.result(whole):
            raise AssertionError(
                f"{type(job).__name__}, seed {seed}, round {number}: another result than without kills"
            )
    return counts
