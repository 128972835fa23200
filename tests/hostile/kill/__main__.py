"""Run a campaign of kills and print counts.

    python -m tests.hostile.kill --seconds 600 --seed 1
    python -m tests.hostile.kill store update --seconds 60 --seed 7

Chains of every job, and the stress of overwrites, updates and readers, are run in turn until the time is up. A failure
is printed with the seed of its chain, and its folder is kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.hostile.kill.chains import chain
from tests.hostile.kill.jobs import JOBS
from tests.hostile.kill.stress import stress

STRESS = ("stress", "stress-kills")


def campaign(jobs: list[str], options: argparse.Namespace, work: Path) -> dict[str, Counter[str]]:
    """Run ``jobs`` in turn until the time is up, each at least once; return the counts by job."""
    os.environ["KILL_ERRORS"] = str(work)
    counts = {name: Counter[str]() for name in jobs}
    deadline, turn = time.monotonic() + options.seconds, 0
    while not turn or time.monotonic() < deadline:
        for name in jobs:
            if turn and time.monotonic() >= deadline:
                break
            folder, seed = work / f"{name}-{turn}", options.seed + turn
            try:
                if name in STRESS:
                    kills = name == "stress-kills"
                    counts[name] += stress(folder, seconds=options.span, seed=seed, kills=kills)
                else:
                    counts[name] += chain(JOBS[name], folder, rounds=options.rounds, kills=options.kills, seed=seed)
                shutil.rmtree(folder)
            except Exception as error:
                counts[name]["failures"] += 1
                sys.stdout.write(f"FAILED {name}, seed {seed}, {folder}: {error}\n")
        turn += 1
        sys.stderr.write(f"{summary(counts)}\n")
    return counts


def summary(counts: dict[str, Counter[str]]) -> str:
    """One line for each job and one for all."""
    total = sum(counts.values(), Counter[str]())
    rows = [*counts.items(), ("total", total)]
    return "\n".join(
        f"{name:14} {', '.join(f'{value} {kind}' for kind, value in sorted(row.items()))}, {row['failures']} failures"
        for name, row in rows
    )


def main() -> None:
    names = [*JOBS, *STRESS]
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.kill")
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"any of {', '.join(names)}; all without a name")
    parser.add_argument("--seconds", type=float, default=60, help="of the campaign")
    parser.add_argument("--span", type=float, default=8, help="seconds of one stress")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of work in a chain")
    parser.add_argument("--kills", type=int, default=4, help="most kills in a round")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--work", type=Path, help="the folder for files; a temporary one without it")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="leafkit-kill-"))
    work.mkdir(exist_ok=True, parents=True)
    counts = campaign(options.jobs or names, options, work)
    sys.stdout.write(f"{summary(counts)}\nseed {options.seed}\n")
    sys.exit(any(row["failures"] for row in counts.values()))


if __name__ == "__main__":
    main()
