"""``python -m eval.ledger``: write the table of all systems with their verdicts, leafkit/methods/verdicts/README.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from leafkit.files.atomic import write_file
from leafkit.methods import ledger as verdicts
from leafkit.methods.ledger import LedgerRow, markdown_table, read_ledger

_HEAD = """# What each system is worth

Written by `python -m eval.ledger` from the files in this folder; do not edit it.

Each system was trained once per seed next to its baseline: plain LEAF with the same texts, steps and teacher calls,
its texts or its student drawn at random where the system chooses them. Both students were measured on the task as
they were after the last step. The difference is the mean over seeds, with the middle 95 % of a paired bootstrap over
seeds and items; `beats` lies above 0, `loses` below it, `ties` around it. A row that loses is a result. The setting is
small (seconds of training on a CPU), and the intervals are not corrected for the number of rows. What is measured by
classes was told the labels of the training texts, which LEAF does not know. Probes watch and train nothing.
"""


def readme(rows: Sequence[LedgerRow]) -> str:
    """The page of the table: how to read it, its rows, and the command of every row that was measured."""
    commands = [str(one.result["command"]) for one in rows if one.result and "command" in one.result]
    again = [
        "Each row again, from the root of the checkout, followed by `python -m eval.ledger`:",
        "",
        "```",
    ]
    again += [f"{command} --out leafkit/methods/verdicts" for command in commands] + ["```"]
    return "\n".join([_HEAD, markdown_table(rows), *(["", *again] if commands else []), ""])


def main() -> None:
    """Write the page, and say where."""
    page = verdicts.VERDICTS / "README.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_file(page, readme(read_ledger()))
    sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
