"""``python -m eval.ledger``: write leafkit/methods/verdicts/README.md, the table of all methods with verdicts."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from eval import DATA
from leafkit.evaluation.compare.report import markdown_table
from leafkit.files.atomic import write_file
from leafkit.methods import ledger as verdicts
from leafkit.methods.ledger import LedgerRow, read_ledger

_HEAD = """# What each method is worth

This page is written by `python -m eval.ledger` from the result files in this folder; do not edit it.

Each method was trained with several seeds, and so was its baseline. The column "compared with" says what the baseline
trains. Both students were measured on the task after the last step. The difference is the mean over the seeds, with
the middle 95 % of a paired bootstrap over seeds and items. A method `beats` its baseline if the interval lies above 0,
`loses` if it lies below 0, and `ties` otherwise. A row that loses is a result.

Read the figures with three limits in mind. The setting is small (seconds of training on a CPU). The intervals are not
corrected for the number of rows. On the task `classes`, the method was given the labels of the training texts, and
LEAF was not. Probes watch the training and change nothing, so they have no difference.
"""
_AGAIN = """To repeat a row, run its command from the root of the checkout and then `python -m eval.ledger`. The recipes
are in [eval/recipes](../../../eval/recipes/README.md). The files here record the commands as they were typed then."""


def readme(rows: Sequence[LedgerRow]) -> str:
    """Return the page: how to read the table, its rows, and the command that repeats each measured row."""
    commands = [repeated(str(row.result["command"])) for row in rows if row.result and "command" in row.result]
    again = ["", _AGAIN, "", "```", *commands, "```"] if commands else []
    return "\n".join([_HEAD, _table(rows), *again, ""])


def _table(rows: Sequence[LedgerRow]) -> str:
    head = ["method", "folder", "paper", "needs", "task", "compared with", "difference", "verdict"]
    cells = [head]
    for row in rows:
        task = str((row.result or {}).get("task", ""))
        result = [task, row.compared_with if row.difference else "", row.difference, row.verdict]
        cells.append([row.name, row.folder, row.paper, ", ".join(row.needs), *result])
    return markdown_table(cells, ["---"] * len(head))


def repeated(command: str) -> str:
    """Return a recorded ``leafkit compare`` command as it works today.

    Early results name a recipe that shipped then (``sinkd``); it is now eval/recipes/sinkd.toml. Results record no
    data folder.
    """
    command = re.sub(r"--recipe ([\w-]+)(?= |$)", r"--recipe eval/recipes/\1.toml", command)
    return f"{command} --data-root {DATA}/bench --out leafkit/methods/verdicts"


def main() -> None:
    """Write the page and print its path."""
    page = verdicts.VERDICTS / "README.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_file(page, readme(read_ledger()))
    sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
