"""``python -m eval.ledger``: write leafkit/methods/verdicts/README.md, the table of all systems with their verdicts."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from eval import DATA
from leafkit.files.atomic import write_file
from leafkit.methods import ledger as verdicts
from leafkit.methods.ledger import Row, ledger, table

_HEAD = """# What each system is worth

`python -m eval.ledger` writes this page from the files in this folder. Do not edit it.

Each system was trained once per seed, and so was its baseline: plain LEAF with the same texts, steps and teacher calls.
Where a system chooses texts or a student, its baseline draws them at random. Both students were measured after the last
step. The difference is the mean over seeds with the middle 95 % of a paired bootstrap over seeds and items. `beats`:
the interval is above 0. `loses`: it is below 0. `ties`: neither. A row that loses is a result too.

The setting is small (seconds of training on a CPU), and the intervals are not corrected for the number of rows. Systems
measured by classes know the labels of the training texts, which LEAF does not use. Probes only watch the training.
"""
_AGAIN = """To repeat a row, run its command from the root of the checkout and then `python -m eval.ledger`. The recipes
are in [eval/recipes](../../../eval/recipes/README.md). The files here record the commands as they were typed then."""


def readme(rows: Sequence[Row]) -> str:
    """Return the page: how to read the table, its rows, and the command that repeats each measured row."""
    commands = [repeated(str(row.result["command"])) for row in rows if row.result and "command" in row.result]
    again = ["", _AGAIN, "", "```", *commands, "```"] if commands else []
    return "\n".join([_HEAD, table(rows), *again, ""])


def repeated(command: str) -> str:
    """Return a recorded ``leafkit compare`` command as it works today.

    Early results name a recipe that shipped then (``sinkd``); it is now eval/recipes/sinkd.toml. Results record no
    data folder.
    """
    command = re.sub(r"--recipe ([\w-]+)(?= |$)", r"--recipe eval/recipes/\1.toml", command)
    return f"{command} --data-root {DATA}/bench --out leafkit/methods/verdicts"


def main() -> None:
    """Write the page and print its path."""
    page = verdicts.RESULTS / "README.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_file(page, readme(ledger()))
    sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
