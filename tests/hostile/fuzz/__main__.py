"""Fuzz what strangers may hand over: ``python -m tests.hostile.fuzz [TARGET ...] [--seed 0] [--cases 1000]``.

``--case N`` runs one case again. With ``--keep FOLDER`` it runs without a child, prints its whole traceback and leaves
the damaged folder.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import traceback
from pathlib import Path

from tests.hostile.fuzz.runner import run
from tests.hostile.fuzz.target import Target, all_targets


def main() -> int:
    """Run the chosen cases, print the counts and every failure, and return 1 if there is one."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="all if none is named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--case", type=int)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    targets = all_targets()
    names = chosen.targets or sorted(name for name in targets if name[0] != "_")
    if chosen.keep is not None:
        _keep(targets[names[0]], chosen.seed, chosen.case, chosen.keep)
        return 0
    first, count = (chosen.first, chosen.cases) if chosen.case is None else (chosen.case, 1)
    tally = run([(name, chosen.seed, first, first + count) for name in names])
    print(*tally.failures, tally, sep="\n")
    return 1 if tally.failures else 0


def _keep(target: Target, seed: int, case: int, folder: Path) -> None:
    """Write the damaged folder to ``folder`` and use it in this process."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    target.build(folder)
    print("damaged:", target.damage(folder, seed, case))
    try:
        print("answer:", target.use(folder))
    except BaseException:
        traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main())
